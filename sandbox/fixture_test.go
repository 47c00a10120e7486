// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// stage is the isolated process's own namespace as the host, and a stack on it.
//
// Addresses: network N has 10.N.0.0/24 and fd00:N::/64, its gateway is number 1 and
// lives in a namespace of its own, the sandbox's endpoint is number 2. Behind the
// gateway is 192.0.2.N and 2001:db8::N.
type stage struct {
	tb    testing.TB
	stack *Stack
	links int // how many endpoints were made
}

func newStage(tb testing.TB) *stage {
	tb.Helper()
	s, err := New(Config{RunDir: "/run/cnm", LinkDir: "/run/netns"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(s.Release(tb.Context()), s.Close()); err != nil {
			tb.Error(err)
		}
	})
	return &stage{tb: tb, stack: s}
}

// sandbox creates an owned sandbox that is deleted with the test.
func (g *stage) sandbox(name string) cnm.Sandbox {
	g.tb.Helper()
	sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: name, Owned: true}
	g.create(&sb)
	return sb
}

// create creates sb and notes its namespace.
func (g *stage) create(sb *cnm.Sandbox) {
	g.tb.Helper()
	ns, err := g.stack.Create(g.tb.Context(), *sb, nil)
	if err != nil {
		g.tb.Fatal(err)
	}
	sb.Namespace = ns
	kept := *sb
	g.tb.Cleanup(func() {
		if err := g.stack.Delete(g.tb.Context(), kept); err != nil {
			g.tb.Error(err)
		}
	})
}

// open opens a sandbox until the test ends.
func (g *stage) open(sb cnm.Sandbox) *Namespace {
	g.tb.Helper()
	n, err := g.stack.open(g.tb.Context(), sb)
	if err != nil {
		g.tb.Fatal(err)
	}
	g.tb.Cleanup(func() { n.Close() })
	return n
}

// foreign pins a namespace that is not ours, until the test ends.
func (g *stage) foreign(name string) string {
	g.tb.Helper()
	if err := os.MkdirAll("/run/foreign", 0o700); err != nil {
		g.tb.Fatal(err)
	}
	path := "/run/foreign/" + name
	if _, err := netns.Make(path, nil); err != nil {
		g.tb.Fatal(err)
	}
	g.tb.Cleanup(func() { g.unpin(path) })
	return path
}

func (g *stage) unpin(path string) {
	g.tb.Helper()
	if err := netns.Unpin(path); err != nil {
		g.tb.Error(err)
	}
}

// join makes a veth pair from this namespace into the sandbox's, as a driver would,
// and returns the attachment to plug. The host's end is up, and has the gateway's
// addresses.
func (g *stage) join(sb cnm.Sandbox, network int, change func(at *cnm.Attachment)) cnm.Attachment {
	g.tb.Helper()
	return g.joinVia(link.Here, sb, network, change)
}

// joinVia is join with the gateway in the namespace that fd is open on.
func (g *stage) joinVia(fd int, sb cnm.Sandbox, network int, change func(at *cnm.Attachment)) cnm.Attachment {
	g.tb.Helper()
	g.links++
	inside, host := 100+g.links, 100+g.links // as the contract has it
	mac := cnm.MAC{2, 0x42, 10, byte(network), 0, 2}
	gateway := cnm.MAC{2, 0x42, 10, byte(network), 0, 1}
	at := cnm.Attachment{
		Network: cnm.Network{ID: cnm.NewNetworkID(), Name: fmt.Sprintf("net%d", network)},
		Endpoint: cnm.Endpoint{
			ID: cnm.NewEndpointID(), Name: sb.Name, MAC: mac,
			Addresses: prefixes(fmt.Sprintf("10.%d.0.2/24", network), fmt.Sprintf("fd00:%d::2/64", network)),
		},
		Sandbox: sb,
		Join: cnm.Join{
			Interface: fmt.Sprintf("eth%d", g.links-1), Number: uint64(g.links), Default: cnm.FamilySet{IPv4: true, IPv6: true},
			Result: cnm.JoinResult{
				Gateways:   gatewaysOf(network),
				Neighbours: []cnm.Neighbour{{Address: gatewaysOf(network)[0], MAC: gateway}, {Address: gatewaysOf(network)[1], MAC: gateway}},
				MTU:        1400,
			},
		},
	}
	at.Join.Result.Link = cnm.Link{Name: at.Join.Interface, Index: inside, InPlace: true, Host: fmt.Sprintf("cnv%d", g.links)}
	if change != nil {
		change(&at)
	}
	var b link.Batch
	b.CreateVeth(link.Veth{
		Name: at.Join.Result.Link.Host, Index: host, MAC: link.MAC(gateway), MTU: 1400,
		Peer: link.Peer{Name: at.Join.Interface, Index: inside, MAC: link.MAC(mac), MTU: 1400, Namespace: g.open(sb).FD()},
	})
	b.SetLink(link.Change{Link: link.Numbered(host), AddrGenMode: link.AddrGenNone, Up: link.On})
	for _, a := range gatewaysOf(network) {
		b.AddAddress(link.Address{Link: host, Prefix: subnetOf(a), NoDAD: a.Is6()})
	}
	if a := at.Endpoint.Address(cnm.IPv6); a.IsValid() {
		b.AddNeighbour(link.Neighbour{Link: host, Addr: a, MAC: link.MAC(mac)})
	}
	g.do(fd, &b)
	return at
}

func gatewaysOf(network int) []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{10, byte(network), 0, 1}), netip.MustParseAddr(fmt.Sprintf("fd00:%d::1", network))}
}

func subnetOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24)
	}
	return netip.PrefixFrom(a, 64)
}

// do sends a batch into the namespace that fd is open on.
func (g *stage) do(fd int, b *link.Batch) {
	g.tb.Helper()
	conn, err := link.Dial(fd)
	if err != nil {
		g.tb.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Do(b); err != nil {
		g.tb.Fatal(err)
	}
}

// plugAndAwait has an endpoint in service.
func plugAndAwait(ctx context.Context, s *Stack, n *Namespace, at cnm.Attachment) error {
	if err := s.Plug(ctx, n, at); err != nil {
		return err
	}
	return s.Await(ctx, n, at)
}

// plug opens, plugs and closes.
func (g *stage) plug(at cnm.Attachment) {
	g.tb.Helper()
	n := g.open(at.Sandbox)
	defer n.Close()
	if err := plugAndAwait(g.tb.Context(), g.stack, n, at); err != nil {
		g.tb.Fatal(err)
	}
}

// state is a sandbox's picture as sorted text, without what comes and goes by
// itself: neighbours that are not permanent, multicast and broadcast routes, the
// kernel's host routes.
func (g *stage) state(sb cnm.Sandbox) string {
	g.tb.Helper()
	n := g.open(sb)
	defer n.Close()
	seen, err := look(g.tb.Context(), n.conn)
	if err != nil {
		g.tb.Fatal(err)
	}
	var b strings.Builder
	for _, l := range seen.links {
		if l.Kind == "sit" || l.Kind == "ip6tnl" || l.Kind == "ipip" || l.Kind == "gre" { // some kernels put them into every namespace
			continue
		}
		fmt.Fprintf(&b, "link %d %s %v mtu %d up %t\n", l.Index, l.Name, l.MAC, l.MTU, l.Up())
	}
	for _, a := range seen.addresses {
		fmt.Fprintf(&b, "address %v on %d\n", a.Prefix, a.Link)
	}
	for _, r := range seen.routes {
		if r.Table != link.TableLocal {
			fmt.Fprintf(&b, "route %v via %v on %d table %d metric %d protocol %d\n", r.Dst, r.Gateway, r.Link, r.Table, r.Metric, r.Protocol)
		}
	}
	for _, r := range seen.rules {
		fmt.Fprintf(&b, "rule %v %d from %v table %d\n", r.Family, r.Priority, r.From, r.Table)
	}
	for _, n := range seen.neighbours {
		if n.State == link.Permanent {
			fmt.Fprintf(&b, "neighbour %v %v on %d\n", n.Addr, n.MAC, n.Link)
		}
	}
	return b.String()
}

// has fails the test unless the state has (or, for a line after "!", has not) each of the lines.
func has(tb testing.TB, state string, lines ...string) {
	tb.Helper()
	for _, l := range lines {
		text, not := strings.CutPrefix(l, "!")
		if strings.Contains(state, text) == not {
			tb.Errorf("%q in the state is %t:\n%s", text, !not, state)
		}
	}
}

// roleVariable makes TestHelper a process to adopt.
const roleVariable = "CNM_SANDBOX_TEST_ROLE"

// TestHelper is no test but what start runs.
func TestHelper(t *testing.T) {
	t.Parallel()
	if os.Getenv(roleVariable) == "wait" {
		fmt.Print("up\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

// start runs a process that waits in a network namespace of its own, until end is
// called or the test ends.
func start(tb testing.TB) (pid int, end func()) {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), roleVariable+"=wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if _, err := cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	tb.Cleanup(end)
	if _, err := io.ReadFull(stdout, make([]byte, 3)); err != nil {
		tb.Fatal(err)
	}
	return cmd.Process.Pid, end
}
