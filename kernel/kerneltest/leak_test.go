// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// leak makes something that a test may leave, and gives what takes it away again.
type leak func() (undo func() error, err error)

// batch is a leak of links, or of what hangs on them.
func batch(do, undo func(b *link.Batch)) leak {
	change := func(fn func(b *link.Batch)) error {
		conn, err := link.Dial(link.Here)
		if err != nil {
			return err
		}
		defer conn.Close()
		var b link.Batch
		fn(&b)
		return conn.Do(&b)
	}
	return func() (func() error, error) { return func() error { return change(undo) }, change(do) }
}

// leaksOfLinks are one of each kind of what is in a room, by what they are to be called.
func leaksOfLinks() map[string]leak {
	lo := link.Address{Link: 1, Prefix: netip.MustParsePrefix("192.0.2.1/32")}
	route := link.Route{Dst: netip.MustParsePrefix("2001:db8:7::/64"), Link: 1, Table: 7}
	rule := link.Rule{Priority: 77, From: netip.MustParsePrefix("2001:db8::/32"), Table: 7}
	neighbour := link.Neighbour{Link: 50, Addr: netip.MustParseAddr("192.0.2.7"), MAC: link.MAC{2, 0, 0, 0, 0, 7}}
	proxy := link.Neighbour{Link: 1, Addr: netip.MustParseAddr("2001:db8::7"), Proxy: true}
	bridge := func(b *link.Batch) {
		b.CreateBridge(link.Bridge{Name: "br0", Index: 50})
		b.CreateVeth(link.Veth{Name: "port0", Index: 51, Master: 50, Peer: link.Peer{Name: "port1", Index: 52}})
		b.AddFDB(link.FDBEntry{Link: 51, MAC: link.MAC{2, 0, 0, 0, 0, 8}, Master: true})
		b.AddNeighbour(neighbour)
	}
	gone := func(b *link.Batch) {
		b.DeleteLink(link.Named("port0"))
		b.DeleteLink(link.Named("br0"))
	}
	up := func(s link.Switch) func(b *link.Batch) {
		return func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named("lo"), Up: s}) }
	}
	return map[string]leak{
		`link br0, "bridge", up false`:                batch(bridge, gone),
		"forwarding entry 02:00:00:00:00:08 on port0": batch(bridge, gone),
		`lost: link lo, "", up true`:                  batch(up(link.Off), up(link.On)),
		"address 192.0.2.1/32 on lo":                  batch(func(b *link.Batch) { b.AddAddress(lo) }, func(b *link.Batch) { b.DeleteAddress(lo) }),
		"route to 2001:db8:7::/64 on lo, table 7":     batch(func(b *link.Batch) { b.AddRoute(route) }, func(b *link.Batch) { b.DeleteRoute(route) }),
		"rule 77 from 2001:db8::/32 to table 7":       batch(func(b *link.Batch) { b.AddRule(rule) }, func(b *link.Batch) { b.DeleteRule(rule) }),
		"neighbour 192.0.2.7 on br0":                  batch(bridge, gone),
		"neighbour 2001:db8::7 on lo":                 batch(func(b *link.Batch) { b.AddNeighbour(proxy) }, func(b *link.Batch) { b.DeleteNeighbour(proxy) }),
	}
}

// leaksOfProcesses are one of each kind of what processes have, by what they are to be called.
func leaksOfProcesses(t *testing.T) map[string]leak {
	t.Helper()
	ns := NewNS(t)
	var lc net.ListenConfig
	return map[string]leak{
		"tcp6 socket on [::1]:8080": func() (func() error, error) {
			ln, err := lc.Listen(t.Context(), "tcp", "[::1]:8080")
			return func() error { return ln.Close() }, err
		},
		"udp socket on 127.0.0.1:53": func() (func() error, error) {
			pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:53")
			return func() error { return pc.Close() }, err
		},
		"packet socket": func() (func() error, error) {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return func() error { return unix.Close(fd) }, err
		},
		"is net:[": func() (func() error, error) {
			other, err := netns.New()
			return func() error { return other.Close() }, err
		},
		"thread /proc/self/task/": func() (func() error, error) {
			inside, leave := make(chan error), make(chan struct{})
			go func() { inside <- ns.Do(func() error { inside <- nil; <-leave; return nil }) }()
			return func() error { close(leave); return <-inside }, <-inside
		},
		"mount /run (tmpfs tmpfs": func() (func() error, error) {
			return func() error { return unix.Unmount("/run", 0) }, unix.Mount("tmpfs", "/run", "tmpfs", 0, "")
		},
		"mount /run/pin (nsfs nsfs": func() (func() error, error) {
			_, err := netns.Make("/run/pin", nil)
			return func() error { return netns.Unpin("/run/pin") }, err
		},
		"table bridge theirs": func() (func() error, error) {
			change := func(fn func(c *nftables.Conn, t *nftables.Table)) error {
				c, err := nftables.New()
				if err != nil {
					return err
				}
				fn(c, &nftables.Table{Name: "theirs", Family: nftables.TableFamilyBridge})
				return c.Flush()
			}
			return func() error { return change((*nftables.Conn).DelTable) },
				change(func(c *nftables.Conn, t *nftables.Table) { c.AddTable(t) })
		},
	}
}

func TestLeaksAreNamed(t *testing.T) {
	t.Parallel()
	Run(t, func(t *testing.T) {
		of := leaksOfProcesses(t)
		before, err := takeInventory(settle)
		if err != nil {
			t.Fatal(err)
		}
		for _, leaks := range []map[string]leak{leaksOfLinks(), of} {
			for name, l := range leaks {
				named(t, before, name, l)
			}
		}
	})
}

// TestProcessesAreNamed needs a process namespace of its own: without, nobody can tell who belongs to the test.
func TestProcessesAreNamed(t *testing.T) {
	t.Parallel()
	Run(t, func(t *testing.T) {
		needProcessNamespace(t)
		before, err := takeInventory(settle)
		if err != nil {
			t.Fatal(err)
		}
		named(t, before, " (cat)", func() (func() error, error) {
			cmd := exec.Command("cat")
			in, err := cmd.StdinPipe()
			if err != nil {
				return nil, err
			}
			if err := cmd.Start(); err != nil {
				return nil, err
			}
			return func() error { in.Close(); return cmd.Wait() }, nil
		})
	})
}

// needProcessNamespace skips where the test is not the first of a process namespace.
func needProcessNamespace(t *testing.T) {
	t.Helper()
	if !alone() {
		t.Skip("no process namespaces with a /proc of their own: they are refused, or parts of /proc are hidden here")
	}
}

// named makes a leak, looks for it by its name, takes it away, and waits until nothing is left of it.
func named(t *testing.T, before *inventory, name string, l leak) {
	t.Helper()
	undo, err := l()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	found, err := before.leaks()
	if err != nil || !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, name) }) {
		t.Errorf("no line has %q (%v) in\n%s", name, err, strings.Join(found, "\n"))
	}
	if err := undo(); err != nil {
		t.Fatalf("%s: undo: %v", name, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(settle); ; {
		found, err := before.leaks()
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: taken away, and still there:\n%s", name, strings.Join(found, "\n"))
		}
	}
}
