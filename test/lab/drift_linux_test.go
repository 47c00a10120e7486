// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/test/lab/stage"
)

// repairTime is how long drift may last. Settings are not announced by the kernel, and are looked at twice a second.
const repairTime = time.Second

// within is how long a repair may take on a machine on which it took so long to set all up: nothing beside the second, unless
// much else runs.
func within(setup time.Duration) time.Duration { return repairTime + 3*setup }

// drift is something that others do to what is ours.
type drift struct {
	name string
	do   func(t *testing.T, d *drifting)
	// tells is a part of what an event says of it.
	tells string
}

// drifting is a host with two sandboxes on a network.
type drifting struct {
	*stage.World
	nw   cnm.Network
	a, b *stage.Box
	hub  string
	at   cnm.Attachment // a's
}

func (d *drifting) change(t *testing.T, p stage.Place, fn func(b *link.Batch)) {
	t.Helper()
	var b link.Batch
	fn(&b)
	p.Change(t, &b)
}

func (d *drifting) set(t *testing.T, key, value string) {
	t.Helper()
	if err := writeSetting(key, value); err != nil {
		t.Fatal(err)
	}
}

// writeSetting does not read back what it has written: by then it may have been put right.
func writeSetting(key, value string) error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) }

// drifts are one of each kind of object.
func drifts() []drift {
	host := func(name, tells string, fn func(d *drifting, b *link.Batch)) drift {
		return drift{name, func(t *testing.T, d *drifting) {
			t.Helper()
			d.change(t, d.Place, func(b *link.Batch) { fn(d, b) })
		}, tells}
	}
	inside := func(name, tells string, fn func(d *drifting, b *link.Batch)) drift {
		return drift{name, func(t *testing.T, d *drifting) {
			t.Helper()
			d.change(t, d.a.Place, func(b *link.Batch) { fn(d, b) })
		}, tells}
	}
	index := func(d *drifting) int { return d.at.Join.Result.Link.Index }
	return []drift{
		host("host link deleted", "link cnv", func(d *drifting, b *link.Batch) { b.DeleteLink(link.Named(d.at.Join.Result.Link.Host)) }),
		host("host link down", "link cnv", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.at.Join.Result.Link.Host), Up: link.Off})
		}),
		host("host link out of its bridge", "link cnv", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.at.Join.Result.Link.Host), NoMaster: true})
		}),
		host("port attribute", "link cnv", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.at.Join.Result.Link.Host), Port: link.Port{Learning: link.On, Hairpin: link.Off}})
		}),
		host("host link's mtu", "link cnv", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.at.Join.Result.Link.Host), MTU: 1280})
		}),
		host("port isolated", "port settings", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.at.Join.Result.Link.Host), Port: link.Port{Isolated: link.On}})
		}),
		host("port locked", "port settings", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.at.Join.Result.Link.Host), Port: link.Port{NeighSuppress: link.On, BroadcastFlood: link.Off}})
		}),
		host("host link's name", "name other0", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Numbered(index(d)), Up: link.Off})
			b.SetLink(link.Change{Link: link.Numbered(index(d)), Rename: "other0"})
			b.SetLink(link.Change{Link: link.Numbered(index(d)), Up: link.On})
		}),
		host("forwarding entry", "link cnv", func(d *drifting, b *link.Batch) {
			b.DeleteFDB(link.FDBEntry{Link: index(d), MAC: link.MAC(d.at.Endpoint.MAC), Master: true})
		}),
		{"neighbour", func(t *testing.T, d *drifting) {
			t.Helper()
			hub := indexOf(t, d.hub)
			d.change(t, d.Place, func(b *link.Batch) {
				b.DeleteNeighbour(link.Neighbour{Link: hub, Addr: d.at.Endpoint.Address(cnm.IPv6)})
			})
		}, "link cnv"},
		{"hub's address", func(t *testing.T, d *drifting) {
			t.Helper()
			hub := indexOf(t, d.hub)
			d.change(t, d.Place, func(b *link.Batch) {
				b.DeleteAddress(link.Address{Link: hub, Prefix: netip.MustParsePrefix("10.1.0.1/24")})
			})
		}, "address 10.1.0.1/24"},
		host("hub down", "link cn-", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.hub), Up: link.Off})
		}),
		host("hub deleted", "link cn-", func(d *drifting, b *link.Batch) { b.DeleteLink(link.Named(d.hub)) }),
		host("forwarding entry at another's port", "link cnv", func(d *drifting, b *link.Batch) {
			b.ReplaceFDB(link.FDBEntry{Link: d.b.At[d.nw.ID].Join.Result.Link.Index, MAC: link.MAC(d.at.Endpoint.MAC), State: link.NoARP, Master: true})
		}),
		host("hub's mtu", "mtu 1280", func(d *drifting, b *link.Batch) { b.SetLink(link.Change{Link: link.Named(d.hub), MTU: 1280}) }),
		host("hub's spanning tree", "bridge settings", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(d.hub), Bridge: link.BridgeOptions{STP: link.On, MulticastSnooping: link.On}})
		}),
		{"hub's name", func(t *testing.T, d *drifting) {
			t.Helper()
			hub := indexOf(t, d.hub)
			d.change(t, d.Place, func(b *link.Batch) {
				b.SetLink(link.Change{Link: link.Numbered(hub), Up: link.Off})
				b.SetLink(link.Change{Link: link.Numbered(hub), Rename: "other0"})
				b.SetLink(link.Change{Link: link.Numbered(hub), Up: link.On})
			})
		}, "name other0"},
		{"route to the network", func(t *testing.T, d *drifting) {
			t.Helper()
			hub := indexOf(t, d.hub)
			d.change(t, d.Place, func(b *link.Batch) {
				b.DeleteRoute(link.Route{Dst: netip.MustParsePrefix("10.1.0.0/24"), Link: hub})
			})
		}, "route 10.1.0.0/24"},
		{"IPv6 route to the network", func(t *testing.T, d *drifting) {
			t.Helper()
			hub := indexOf(t, d.hub)
			d.change(t, d.Place, func(b *link.Batch) {
				b.DeleteRoute(link.Route{Dst: netip.MustParsePrefix("fd00:1::/64"), Link: hub})
			})
		}, "route fd00:1::/64"},
		{"hub's accept_ra", func(t *testing.T, d *drifting) { d.set(t, "net/ipv6/conf/"+d.hub+"/accept_ra", "2") }, "accept_ra"},
		{"hub's IPv6", func(t *testing.T, d *drifting) { d.set(t, "net/ipv6/conf/"+d.hub+"/disable_ipv6", "1") }, "disable_ipv6"},
		{"hub's forwarding", func(t *testing.T, d *drifting) { d.set(t, "net/ipv4/conf/"+d.hub+"/forwarding", "0") }, "forwarding"},
		{"hub's route_localnet", func(t *testing.T, d *drifting) { d.set(t, "net/ipv4/conf/"+d.hub+"/route_localnet", "0") }, "route_localnet"},
		inside("interface deleted", "", func(_ *drifting, b *link.Batch) { b.DeleteLink(link.Named("eth0")) }),
		inside("interface down", "", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Numbered(index(d)), Up: link.Off})
		}),
		inside("interface's mac", "", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Numbered(index(d)), MAC: link.MAC{2, 0, 0, 0, 0, 9}})
		}),
		inside("interface's mtu", "", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Numbered(index(d)), MTU: 1280})
		}),
		inside("interface's name", "name other0", func(d *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Numbered(index(d)), Up: link.Off})
			b.SetLink(link.Change{Link: link.Numbered(index(d)), Rename: "other0"})
			b.SetLink(link.Change{Link: link.Numbered(index(d)), Up: link.On})
		}),
		inside("loopback down", "link lo", func(_ *drifting, b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named("lo"), Up: link.Off})
		}),
		{"interface's IPv6", func(t *testing.T, d *drifting) {
			t.Helper()
			if err := d.a.Do(func() error { return writeSetting("net/ipv6/conf/eth0/disable_ipv6", "1") }); err != nil {
				t.Fatal(err)
			}
		}, "address fd00:1::"},
		inside("address inside", "", func(d *drifting, b *link.Batch) {
			b.DeleteAddress(link.Address{Link: index(d), Prefix: d.at.Endpoint.Addresses[0]})
		}),
		inside("IPv6 address inside", "", func(d *drifting, b *link.Batch) {
			b.DeleteAddress(link.Address{Link: index(d), Prefix: d.at.Endpoint.Addresses[1]})
		}),
		inside("default route", "", func(_ *drifting, b *link.Batch) {
			b.DeleteRoute(link.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Table: link.TableMain})
		}),
		inside("default route of its own table", "", func(d *drifting, b *link.Batch) {
			b.DeleteRoute(link.Route{Dst: netip.MustParsePrefix("::/0"), Table: 1<<31 | uint32(index(d))})
		}),
		inside("routing rule", "", func(d *drifting, b *link.Batch) {
			a := d.at.Endpoint.Address(cnm.IPv4)
			b.DeleteRule(link.Rule{Priority: 20000, From: netip.PrefixFrom(a, a.BitLen())})
		}),
	}
}

func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	for _, x := range drifts() {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				began := time.Now()
				w := stage.Build(t)
				d := &drifting{World: w, nw: w.Network("red", stage.Subnets("10.1.0.0/24", "fd00:1::/64"))}
				d.a, d.b = w.Server("a", d.nw), w.Server("b", d.nw)
				d.at = d.a.At[d.nw.ID]
				d.hub = d.at.Join.Result.Link.Bridge
				w.Audit()
				events := w.Events(t.Context())
				begin := time.Now()
				limit := within(begin.Sub(began))
				x.do(t, d)
				stage.Await(t, events, limit, func(e cnm.Event) bool {
					return e.Object == "drift" && e.Action == "repair" && strings.Contains(e.Name+" "+e.Detail["what"], x.tells)
				})
				repaired(t, w, events, begin.Add(limit))
				stage.Answered(t, append(stage.Every(d.a.Place, d.b.Addresses(d.nw)...), stage.Every(d.b.Place, d.a.Addresses(d.nw)...)...)...)
				stage.Answered(t, stage.Every(w.Place, d.a.Addresses(d.nw)...)...)
			})
		})
	}
}

// repaired looks after each further event, until the host is as the records say or the time is up.
func repaired(t *testing.T, w *stage.World, events <-chan cnm.Event, end time.Time) {
	t.Helper()
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	for {
		found := w.Findings()
		if len(found) == 0 {
			return
		}
		select {
		case <-events:
		case <-late.C:
			t.Fatalf("not repaired in time:\n%s", strings.Join(w.Findings(), "\n"))
		}
	}
}

// TestForeignFlush has another process delete every table there is, as `nft flush ruleset` does.
func TestForeignFlush(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		red, blue := w.Network("red"), w.Network("blue")
		a, b, c := w.Sandbox("a"), w.Server("b", red), w.Server("c", blue)
		w.Plug(a, red, w.Publishing("8007:7/tcp"))
		a.Serve(t, stage.EchoPort)
		before := w.Picture()
		conn, err := nft.Dial(nft.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tables, err := conn.Tables(t.Context())
		if err != nil || len(tables) < 2 {
			t.Fatalf("tables %v, %v", tables, err)
		}
		for _, table := range tables {
			var tx nft.Tx
			tx.DeleteTable(table.TableID)
			if err := conn.Run(t.Context(), &tx); !errors.Is(err, nft.ErrOwned) {
				t.Errorf("deleting table %s by another socket: %v", table.TableID, err)
			}
		}
		var everything nft.Tx
		everything.DeleteTable(nft.TableID{Family: nft.Inet})
		_ = conn.Run(t.Context(), &everything) // what it answers does not matter, but what is left
		if lines := w.Picture().Diff(before); len(lines) > 0 {
			t.Errorf("the rules have changed:\n%s", strings.Join(lines, "\n"))
		}
		stage.Answered(t, append(stage.Every(b.Place, a.Addresses(red)...), stage.Probe{From: w.Neighbour, Proto: "tcp", To: netip.AddrPortFrom(addr(stage.Host4), 8007)})...)
		stage.Silent(t, stage.Every(c.Place, a.Addresses(red)...)...)
	})
}

// TestKeptEndpoint collects a sandbox whose endpoint was made to be kept: it stays, with its addresses, for the next one.
func TestKeptEndpoint(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		red := w.Network("red")
		peer := w.Sandbox("peer", red)
		kept, err := w.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "kept", Keep: true, Publish: stage.Ports(t, "8007:7/tcp")})
		if err != nil {
			t.Fatal(err)
		}
		events := w.Events(t.Context())
		for _, name := range []string{"first", "second"} {
			box := w.Sandbox(name)
			at, err := w.Join(t.Context(), kept.ID, box.Sandbox.ID, cnm.JoinSpec{})
			if err != nil {
				t.Fatal(err)
			}
			box.At[red.ID] = at
			server := box.Serve(t, stage.EchoPort)
			stage.Answered(t, stage.Every(peer.Place, box.Addresses(red)...)...)
			stage.Answered(t, stage.Probe{From: w.Neighbour, Proto: "tcp", To: netip.AddrPortFrom(addr(stage.Host4), 8007)})
			server.Close()
			if err := netns.Unpin(box.Sandbox.Namespace.Path); err != nil {
				t.Fatal(err)
			}
			stage.Await(t, events, stage.Patience, func(e cnm.Event) bool { return e.Action == "collect" && e.Name == name })
			w.Audit()
		}
	})
}

// TestNetworksWithoutLinks joins the host's own stack, and nothing at all.
func TestNetworksWithoutLinks(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		before := w.Picture()
		of := func(driver string) func(*cnm.NetworkSpec) { return func(s *cnm.NetworkSpec) { s.Driver = driver } }
		host, none, red := w.Network("host", of("host")), w.Network("none", of("null")), w.Network("red")
		self := w.Adopt(cnm.SandboxSpec{Name: "self", Host: true}, host)
		box := w.Sandbox("box", none)
		for _, bad := range []cnm.AttachSpec{
			{Sandbox: self.Sandbox.ID, Network: red.ID},
			{Sandbox: box.Sandbox.ID, Network: host.ID},
			{Sandbox: box.Sandbox.ID, Network: none.ID, Endpoint: cnm.EndpointSpec{Publish: stage.Ports(t, "8007:7/tcp")}},
		} {
			if _, err := w.Attach(t.Context(), bad); err == nil {
				t.Errorf("attach %+v succeeds", bad)
			}
		}
		w.Plug(box, red)
		stage.Answered(t, pings(w.Place, box.Addresses(red)...)...)
		w.Audit()
		w.Clear()
		w.Quiet()
		if lines := w.Picture().Diff(before); len(lines) > 0 {
			t.Errorf("left behind:\n%s", strings.Join(lines, "\n"))
		}
	})
}

// TestCollection ends sandboxes from outside.
func TestCollection(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		red := w.Network("red")
		stays := w.Server("stays", red)
		events := w.Events(t.Context())
		collected := func(name string) {
			t.Helper()
			stage.Await(t, events, stage.Patience, func(e cnm.Event) bool {
				return e.Object == "sandbox" && e.Action == "collect" && e.Name == name
			})
			w.Audit()
		}
		t.Log("a namespace of ours is unpinned by others")
		owned := w.Sandbox("owned")
		w.Plug(owned, red, w.Publishing("8007:7/tcp"))
		if err := netns.Unpin(owned.Sandbox.Namespace.Path); err != nil {
			t.Fatal(err)
		}
		collected("owned")
		t.Log("a namespace of others is deleted")
		pin := "/run/theirs"
		if _, err := netns.Make(pin, nil); err != nil {
			t.Fatal(err)
		}
		adopted := w.Adopt(cnm.SandboxSpec{Name: "adopted", Path: pin}, red)
		stage.Answered(t, pings(stays.Place, adopted.Addresses(red)...)...)
		if err := netns.Unpin(pin); err != nil {
			t.Fatal(err)
		}
		collected("adopted")
		t.Log("a process ends, and with it its namespace")
		pid, end := stage.StartIdler(t)
		process := w.Adopt(cnm.SandboxSpec{Name: "process", PID: pid}, red)
		stage.Answered(t, pings(stays.Place, process.Addresses(red)...)...)
		end()
		collected("process")
		stage.Answered(t, stage.Every(w.Place, stays.Addresses(red)...)...)
		if n := len(w.Records(context.WithoutCancel(t.Context())).Endpoints); n != 1 {
			t.Errorf("%d endpoints are left, want 1", n)
		}
		if err := unix.Access(pin, unix.F_OK); !errors.Is(err, unix.ENOENT) {
			t.Errorf("their pin: %v", err)
		}
	})
}
