// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/test/probe"
)

// onStage runs a test on a stage of its own.
func onStage(t *testing.T, fn func(t *testing.T, st *stage)) {
	t.Helper()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t)
		st, err := buildStage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.close(); err != nil {
				t.Error(err)
			}
		})
		fn(t, st)
	})
}

// serveEcho has an echo server in a place until the test ends.
func serveEcho(t *testing.T, p probe.Place) {
	t.Helper()
	s, err := p.Echo(t.Context(), echoPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
}

// TestProbes has every probe answered where there is an answer, and none where there is none.
func TestProbes(t *testing.T) {
	t.Parallel()
	onStage(t, func(t *testing.T, st *stage) {
		serveEcho(t, st.neighbour)
		var there, nowhere []probe.Probe
		for _, f := range families() {
			there = append(there, probe.Every(st.host, neighbourAddress(f), echoPort)...)
			there = append(there, probe.Probe{From: st.neighbour, Proto: "icmp", To: hostAddress(f)})
			nowhere = append(nowhere, probe.Every(st.host, neighbourAddress(f).Next(), echoPort)...)
			nowhere = append(nowhere, probe.Every(st.neighbour, hostAddress(f), echoPort)[1:]...)
		}
		if err := probe.Answered(t.Context(), there...); err != nil {
			t.Error(err)
		}
		if err := probe.Silent(t.Context(), nowhere...); err != nil {
			t.Error(err)
		}
		err := probe.Silent(t.Context(), slices.Concat(nowhere, there)...)
		for _, q := range there {
			if err == nil || !strings.Contains(err.Error(), q.String()) {
				t.Errorf("%v is probe.Answered, and silence was found: %v", q, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if probe.Silent(ctx, nowhere...) == nil {
			t.Error("silence was found without asking")
		}
		if probe.Answered(ctx, there...) == nil {
			t.Error("an answer was found without asking")
		}
	})
}

// TestServer fetches the page and reads the log, and looks at it all through a relay.
func TestServer(t *testing.T) {
	t.Parallel()
	onStage(t, func(t *testing.T, st *stage) {
		in, end := io.Pipe()
		log := newTranscript()
		done := make(chan error, 1)
		go func() { done <- serve(t.Context(), in, log) }()
		if _, err := log.await(t.Context(), 0, func(line string) bool { return strings.HasPrefix(line, readyText) }); err != nil {
			t.Fatal(err)
		}
		for _, f := range families() {
			page, err := st.neighbour.Fetch(t.Context(), netip.AddrPortFrom(hostAddress(f), webPort), "/some/path")
			if err != nil || !strings.HasPrefix(page, pageText) {
				t.Errorf("%s: page %q, %v", f, page, err)
			}
			if want := requestLine("/some/path", neighbourAddress(f)) + "\n"; log.tail(1) != want {
				t.Errorf("%s: the log says %q, wanted %q", f, log.tail(1), want)
			}
		}
		r, err := probe.StartRelay(t.Context(), st.host, hostWebPort, netip.AddrPortFrom(hostAddress(link.IPv4), webPort))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.neighbour.Fetch(t.Context(), netip.AddrPortFrom(hostAddress(link.IPv6), hostWebPort), "/"); err != nil {
			t.Error(err)
		}
		if want := requestLine("/", hostAddress(link.IPv4)) + "\n"; log.tail(1) != want {
			t.Errorf("through the relay the log says %q, wanted %q", log.tail(1), want)
		}
		r.Close()
		if err := end.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := st.neighbour.Fetch(t.Context(), netip.AddrPortFrom(hostAddress(link.IPv4), webPort), "/"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("after its end the server answers: %v", err)
		}
	})
}

// TestStreams counts every message, and misses those that a cut or a dead relay swallows.
func TestStreams(t *testing.T) {
	t.Parallel()
	onStage(t, func(t *testing.T, st *stage) {
		serveEcho(t, st.neighbour)
		var flows []*probe.Stream
		for _, f := range families() {
			ping, err := st.host.Pinging(t.Context(), neighbourAddress(f))
			if err != nil {
				t.Fatal(err)
			}
			talk, err := st.host.Talking(t.Context(), netip.AddrPortFrom(neighbourAddress(f), echoPort))
			if err != nil {
				t.Fatal(err)
			}
			flows = append(flows, ping, talk)
		}
		if err := errors.Join(flow(t.Context(), flows), finish(t.Context(), flows)); err != nil {
			t.Error(err)
		}
		r, err := probe.StartRelay(t.Context(), st.host, hostEchoPort, netip.AddrPortFrom(neighbourAddress(link.IPv4), echoPort))
		if err != nil {
			t.Fatal(err)
		}
		talk, err := st.neighbour.Talking(t.Context(), netip.AddrPortFrom(hostAddress(link.IPv6), hostEchoPort))
		if err != nil {
			t.Fatal(err)
		}
		ping, err := st.neighbour.Pinging(t.Context(), hostAddress(link.IPv6))
		if err != nil {
			t.Fatal(err)
		}
		if err := flow(t.Context(), []*probe.Stream{talk, ping}); err != nil {
			t.Error(err)
		}
		if stalled(t.Context(), []*probe.Stream{talk, ping}) == nil {
			t.Error("streams that flow were found dead")
		}
		r.Close()
		var cut link.Batch
		cut.SetLink(link.Change{Link: link.Named(lanLink), Up: link.Off})
		if err := changeLinks(link.Here, &cut); err != nil {
			t.Fatal(err)
		}
		if err := stalled(t.Context(), []*probe.Stream{talk, ping}); err != nil {
			t.Error(err)
		}
		for _, s := range []*probe.Stream{talk, ping} {
			if s.Finish(t.Context()) == nil {
				t.Errorf("%s: nothing was lost", s.Name)
			}
		}
	})
}

// TestFlush has the flush delete what nobody owns, and see it in pictures.
func TestFlush(t *testing.T) {
	t.Parallel()
	onStage(t, func(t *testing.T, _ *stage) {
		conn, err := nft.Dial(nft.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		empty, err := rulesAndTables(t.Context(), conn)
		if err != nil || len(empty) > 0 {
			t.Fatalf("an empty firewall: %v, %v", empty, err)
		}
		if err := makeBystander(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if seen, err := rulesAndTables(t.Context(), conn); err != nil || seen.differs(empty) == "" {
			t.Errorf("the bystander is not seen: %v, %v", seen, err)
		}
		if err := probe.FlushRuleset(); err != nil {
			t.Fatal(err)
		}
		if seen, err := rulesAndTables(t.Context(), conn); err != nil || len(seen) > 0 {
			t.Errorf("after the flush: %v, %v", seen, err)
		}
		features, err := conn.Features(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !features.OwnerPersist {
			return // nothing outlives a flush here
		}
		owned := bystander()
		owned.Flags = nft.Owner | nft.Persist
		var tx nft.Tx
		tx.AddTable(owned)
		if err := conn.Run(t.Context(), &tx); err != nil {
			t.Fatal(err)
		}
		before, err := rulesAndTables(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if err := probe.FlushRuleset(); err != nil {
			t.Fatal(err)
		}
		if after, err := rulesAndTables(t.Context(), conn); err != nil || after.differs(before) != "" {
			t.Errorf("an owned table: %v, %v", after, err)
		}
	})
}

// TestPicture sees each kind of thing that could be left behind.
func TestPicture(t *testing.T) {
	t.Parallel()
	onStage(t, func(t *testing.T, st *stage) {
		dir := t.TempDir()
		before, err := takePicture(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		var b link.Batch
		b.CreateBridge(link.Bridge{Name: "left0", Index: 77})
		b.AddAddress(link.Address{Link: 77, Prefix: netip.MustParsePrefix("198.51.100.1/24")})
		b.SetLink(link.Change{Link: link.Numbered(77), Up: link.On, IPv4: []link.Conf{{Key: link.Forwarding, Value: 1}}})
		rule := link.Rule{From: netip.MustParsePrefix("198.51.100.0/24"), Priority: 9, Table: 99}
		b.AddRule(rule)
		if err := changeLinks(link.Here, &b); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			var b link.Batch
			b.DeleteRule(rule)
			if err := changeLinks(link.Here, &b); err != nil {
				t.Error(err)
			}
		})
		serveEcho(t, st.host)
		if err := os.WriteFile(filepath.Join(dir, "pin"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		mounted := t.TempDir()
		if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		after, err := takePicture(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Unmount(mounted, 0); err != nil {
			t.Fatal(err)
		}
		seen := after.differs(before)
		for _, want := range []string{
			"new: link left0 (77)", "new: address 198.51.100.1/24 on link 77", "new: route to 198.51.100.0/24", "new: routing rule 9 from 198.51.100.0/24",
			"new: setting net/ipv4/conf/left0/forwarding = 1", "new: socket of tcp6 port 7", "new: socket of udp6 port 7", "new: namespace pin", "new: mount " + mounted,
		} {
			if !strings.Contains(seen, want) {
				t.Errorf("%q is not seen in\n%s", want, seen)
			}
		}
		if back := before.differs(after); !strings.Contains(back, "lost: link left0") {
			t.Errorf("what is lost is not told:\n%s", back)
		}
	})
}
