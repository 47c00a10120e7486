// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// Addresses of these tests: the host 192.0.2.1 and 2001:db8::1, on lo; the
// endpoint 127.0.0.9 and ::1, which need no route.

// outsiderEnv makes the test binary bind what it names, say so, and wait for its
// standard input to end.
const outsiderEnv = "CNM_PORTS_OUTSIDER"

func TestMain(m *testing.M) {
	if what := os.Getenv(outsiderEnv); what != "" {
		os.Exit(outsider(what))
	}
	os.Exit(m.Run())
}

// outsider is a process of the host that has a port.
func outsider(what string) int {
	network, address, _ := strings.Cut(what, " ")
	var err error
	if strings.HasPrefix(network, "tcp") {
		_, err = net.Listen(network, address)
	} else {
		_, err = net.ListenPacket(network, address)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("bound")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// startOutsider runs a process that binds "udp6 [::1]:53" and the like, and
// gives its pid and what ends it.
func startOutsider(t *testing.T, what string) (pid int, end func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), outsiderEnv+"="+what)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "bound\n" {
		t.Fatalf("outsider %s: %q (%v)", what, line, err)
	}
	end = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

// newHolder makes a holder that is closed with the test.
func newHolder(tb testing.TB, cfg Config) *Holder {
	tb.Helper()
	h, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		h.Close()
		// The standard library keeps the pipes of splice(2) until the collector has
		// passed them twice, and then needs a third pass to close them.
		for range 3 {
			runtime.GC()
		}
	})
	return h
}

// both are the default publish addresses.
func both() []netip.Addr { return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} }

// endpoint has an address of each family.
func endpoint() Targets {
	return Targets{V4: netip.MustParseAddr("127.0.0.9"), V6: netip.IPv6Loopback()}
}

// request asks for ports in the form of the command line.
func request(tb testing.TB, owner string, specs ...string) Request {
	tb.Helper()
	req := Request{Owner: owner, Name: "n-" + owner, Addresses: both(), Targets: endpoint()}
	for _, s := range specs {
		parsed, err := cnm.ParsePortSpecs(s)
		if err != nil {
			tb.Fatal(err)
		}
		req.Specs = append(req.Specs, parsed...)
	}
	return req
}

// hold1 takes ports that must be had.
func hold1(tb testing.TB, h *Holder, owner string, specs ...string) []cnm.Port {
	tb.Helper()
	got, err := h.Hold(tb.Context(), request(tb, owner, specs...))
	if err != nil {
		tb.Fatalf("hold %v: %v", specs, err)
	}
	return got
}

// texts writes ports as people read them.
func texts(list []cnm.Port) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%s ", p)
	}
	return strings.TrimSpace(b.String())
}

// wantKind checks an error's kind and that its text has a part.
func wantKind(tb testing.TB, err error, kind cnm.Kind, part string) {
	tb.Helper()
	if err == nil || cnm.KindOf(err) != kind || !strings.Contains(err.Error(), part) {
		tb.Errorf("got %q of kind %v, want kind %v and %q", fmt.Sprint(err), cnm.KindOf(err), kind, part)
	}
}

// addAddress gives lo an address, until the test ends.
func addAddress(tb testing.TB, address string) {
	tb.Helper()
	a := netip.MustParseAddr(address)
	given := link.Address{Link: 1, Prefix: netip.PrefixFrom(a, a.BitLen()), NoDAD: true} // lo is the first link
	changeAddress(tb, func(b *link.Batch) { b.AddAddress(given) })
	tb.Cleanup(func() { changeAddress(tb, func(b *link.Batch) { b.DeleteAddress(given) }) })
	awaitDelivery(tb, a)
}

func changeAddress(tb testing.TB, fill func(b *link.Batch)) {
	tb.Helper()
	conn, err := link.Dial(link.Here)
	if err != nil {
		tb.Fatal(err)
	}
	var b link.Batch
	fill(&b)
	if err := errors.Join(conn.Do(&b), conn.Close()); err != nil {
		tb.Error(err)
	}
}

// awaitDelivery waits until the host takes what is sent to an address of its own:
// the kernel makes the local route to an IPv6 address a little after the address.
func awaitDelivery(tb testing.TB, a netip.Addr) {
	tb.Helper()
	c, err := net.ListenPacket("udp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	for range 1000 {
		_, writeErr := c.WriteTo([]byte("x"), c.LocalAddr())
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			tb.Fatal(err)
		}
		if _, _, err := c.ReadFrom(make([]byte, 1)); errors.Join(writeErr, err) == nil {
			return
		}
	}
	tb.Fatalf("nothing that is sent to %s arrives", a)
}

// fakeQuarantine is swept when the test says so.
type fakeQuarantine struct {
	mu    sync.Mutex
	marks []string // what was freed, in order
	swept uint64
	waits chan struct{} // sent for each wait that begins
	sweep chan struct{} // closed when all is swept
}

func newQuarantine() *fakeQuarantine {
	return &fakeQuarantine{waits: make(chan struct{}, 100), sweep: make(chan struct{})}
}

func (q *fakeQuarantine) Mark(p cnm.Protocol, a netip.AddrPort) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.marks = append(q.marks, fmt.Sprintf("%s/%s", a, p))
	return 0
}

func (q *fakeQuarantine) Clear(mark uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.swept > mark
}

func (q *fakeQuarantine) clear() {
	q.mu.Lock()
	q.swept = 1
	q.mu.Unlock()
	close(q.sweep)
}

func (q *fakeQuarantine) Wait(ctx context.Context, _ uint64) error {
	q.waits <- struct{}{}
	select {
	case <-q.sweep:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
