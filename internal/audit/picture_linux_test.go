// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// hand changes the kernel in a test.
type hand struct {
	t    *testing.T
	conn *link.Conn
	nft  *nft.Conn
}

func newHand(t *testing.T) hand {
	t.Helper()
	kerneltest.Clear(t)
	conn, err := link.Dial(link.Here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	table, err := nft.Dial(nft.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return hand{t, conn, table}
}

func (h hand) links(fn func(b *link.Batch)) {
	h.t.Helper()
	var b link.Batch
	fn(&b)
	if err := h.conn.Do(&b); err != nil {
		h.t.Fatalf("%v in\n%s", err, b.String())
	}
}

func (h hand) tables(fn func(tx *nft.Tx)) {
	h.t.Helper()
	var tx nft.Tx
	fn(&tx)
	if err := h.nft.Run(h.t.Context(), &tx); err != nil {
		h.t.Fatalf("%v in\n%s", err, tx.String())
	}
}

func (h hand) setting(key, value string) {
	h.t.Helper()
	if err := sysctl.Write(key, value); err != nil {
		h.t.Fatal(err)
	}
}

// stage is a bridge with a port, which things can be added to.
const (
	bridgeIndex = 50
	portIndex   = 51
)

func (h hand) stage() {
	h.t.Helper()
	h.links(func(b *link.Batch) {
		b.CreateBridge(link.Bridge{Name: "br0", Index: bridgeIndex, MAC: link.MAC{2, 0, 0, 0, 0, 1}, Options: link.BridgeOptions{MulticastSnooping: link.Off}})
		b.CreateVeth(link.Veth{Name: "port0", Index: portIndex, Master: bridgeIndex, Peer: link.Peer{Name: "port1", Index: portIndex + 1}})
		for _, i := range []int{bridgeIndex, portIndex, portIndex + 1} {
			b.SetLink(link.Change{Link: link.Numbered(i), AddrGenMode: link.AddrGenNone, Up: link.On})
		}
	})
}

// change is something that a picture shows.
type change struct {
	do, undo func(h hand)
	shows    string
}

// changes are one of each kind.
func changes() map[string]change {
	address := link.Address{Link: bridgeIndex, Prefix: netip.MustParsePrefix("2001:db8::1/64"), NoDAD: true}
	route := link.Route{Dst: netip.MustParsePrefix("2001:db8:7::/64"), Link: bridgeIndex}
	rule := link.Rule{Priority: 77, From: netip.MustParsePrefix("192.0.2.0/24"), Table: 7}
	neighbour := link.Neighbour{Link: bridgeIndex, Addr: netip.MustParseAddr("192.0.2.7"), MAC: link.MAC{2, 0, 0, 0, 0, 7}}
	entry := link.FDBEntry{Link: portIndex, MAC: link.MAC{2, 0, 0, 0, 0, 8}, Master: true}
	table := nft.Table{TableID: nft.TableID{Family: nft.IPv4, Name: "theirs"}}
	set := &nft.Set{Table: table.TableID, Name: "numbers", Key: []nft.Type{nft.TypePort}}
	batch := func(fn func(b *link.Batch)) func(hand) { return func(h hand) { h.links(fn) } }
	tx := func(fn func(tx *nft.Tx)) func(hand) { return func(h hand) { h.tables(fn) } }
	return map[string]change{
		"link": {
			batch(func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "cn-left"}) }),
			batch(func(b *link.Batch) { b.DeleteLink(link.Named("cn-left")) }), "link cn-left ",
		},
		"link down": {
			batch(func(b *link.Batch) {
				b.SetLink(link.Change{Link: link.Numbered(portIndex), Up: link.Off})
			}),
			batch(func(b *link.Batch) { b.SetLink(link.Change{Link: link.Numbered(portIndex), Up: link.On}) }), "link port0 ",
		},
		"port attribute": {
			batch(func(b *link.Batch) {
				b.SetLink(link.Change{Link: link.Numbered(portIndex), Port: link.Port{Hairpin: link.On}})
			}),
			batch(func(b *link.Batch) {
				b.SetLink(link.Change{Link: link.Numbered(portIndex), Port: link.Port{Hairpin: link.Off}})
			}), "link port0 ",
		},
		"address":          {batch(func(b *link.Batch) { b.AddAddress(address) }), batch(func(b *link.Batch) { b.DeleteAddress(address) }), "address 2001:db8::1/64 on br0"},
		"route":            {batch(func(b *link.Batch) { b.AddRoute(route) }), batch(func(b *link.Batch) { b.DeleteRoute(route) }), "2001:db8:7::/64"},
		"routing rule":     {batch(func(b *link.Batch) { b.AddRule(rule) }), batch(func(b *link.Batch) { b.DeleteRule(rule) }), "routing rule ipv4 77 "},
		"neighbour":        {batch(func(b *link.Batch) { b.AddNeighbour(neighbour) }), batch(func(b *link.Batch) { b.DeleteNeighbour(neighbour) }), "neighbour 192.0.2.7 "},
		"forwarding entry": {batch(func(b *link.Batch) { b.AddFDB(entry) }), batch(func(b *link.Batch) { b.DeleteFDB(entry) }), "forwarding entry 02:00:00:00:00:08 "},
		"table":            {tx(func(tx *nft.Tx) { tx.AddTable(table) }), tx(func(tx *nft.Tx) { tx.DeleteTable(table.TableID) }), "table ip theirs"},
		"element": {
			tx(func(tx *nft.Tx) { tx.AddTable(table); tx.AddSet(set); tx.AddElements(set, nft.Key(nft.Port(80))) }),
			tx(func(tx *nft.Tx) { tx.DeleteTable(table.TableID) }), "set numbers element 80",
		},
		"rule": {
			tx(func(tx *nft.Tx) {
				tx.Load(&nft.Layout{Table: table, Chains: []*nft.Chain{{Table: table.TableID, Name: "c", Rules: []nft.Rule{nft.NewRule("", nft.Drop())}}}})
			}),
			tx(func(tx *nft.Tx) { tx.DeleteTable(table.TableID) }), "chain c rule 0: ",
		},
		"setting": {
			func(h hand) { h.setting("net/ipv4/conf/br0/forwarding", "1") },
			func(h hand) { h.setting("net/ipv4/conf/br0/forwarding", "0") }, "setting ipv4/conf/br0/forwarding is 1",
		},
		"file": {
			func(h hand) {
				if err := os.WriteFile("/run/x/netns/left", nil, 0o600); err != nil {
					h.t.Fatal(err)
				}
			},
			func(h hand) {
				if err := os.Remove("/run/x/netns/left"); err != nil {
					h.t.Fatal(err)
				}
			}, "/run/x/netns/left",
		},
		"pin": {
			func(h hand) {
				if _, err := netns.Make("/run/x/netns/pin", nil); err != nil {
					h.t.Fatal(err)
				}
			},
			func(h hand) {
				if err := netns.Unpin("/run/x/netns/pin"); err != nil {
					h.t.Fatal(err)
				}
			}, "mount of nsfs at /run/x/netns/pin",
		},
	}
}

func scope() Scope { return Scope{RunDir: "/run/x"} }

func take(t *testing.T) Picture {
	t.Helper()
	p, err := Take(t.Context(), scope())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPictureShowsEachChange(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHand(t)
		h.stage()
		if err := os.MkdirAll("/run/x/netns", 0o755); err != nil {
			t.Fatal(err)
		}
		before := take(t)
		if again := take(t).Diff(before); len(again) > 0 {
			t.Fatalf("two pictures of one state differ:\n%s", strings.Join(again, "\n"))
		}
		for name, c := range changes() {
			c.do(h)
			if lines := take(t).Diff(before); !slices.ContainsFunc(lines, func(l string) bool {
				return strings.HasPrefix(l, "new: ") && strings.Contains(l, c.shows)
			}) {
				t.Errorf("%s: no new line has %q in\n%s", name, c.shows, strings.Join(lines, "\n"))
			}
			c.undo(h)
			if lines := take(t).Diff(before); len(lines) > 0 {
				t.Errorf("%s: taken back, and still there:\n%s", name, strings.Join(lines, "\n"))
			}
		}
	})
}

func TestPictureShowsSockets(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		before := take(t)
		tcp, err := net.Listen("tcp", "[2001:db8::1]:0")
		if err == nil {
			t.Fatalf("listening on an address of nobody: %v", tcp.Addr())
		}
		var lc net.ListenConfig
		for _, at := range []string{"127.0.0.1:8080", "[::1]:8080", "[::]:8081"} {
			ln, err := lc.Listen(t.Context(), "tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			pc, err := lc.ListenPacket(t.Context(), "udp", at)
			if err != nil {
				t.Fatal(err)
			}
			lines := take(t).Diff(before)
			slices.Sort(lines)
			if want := []string{"new: tcp socket on " + at, "new: udp socket on " + at}; !slices.Equal(lines, want) {
				t.Errorf("lines %q, want %q", lines, want)
			}
			ln.Close()
			pc.Close()
		}
	})
}

func TestProcess(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		err := ns.Do(func() error {
			lines, err := Process(0)
			if err == nil && !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "thread in net:[") }) {
				t.Errorf("a thread in another namespace is not told: %q", lines)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		lines, err := Process(0)
		if err != nil || !slices.Contains(lines, "descriptors of net: 1") {
			t.Errorf("lines %q (%v), want a descriptor of a namespace", lines, err)
		}
	})
}

func TestWaitQuiet(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHand(t)
		before := take(t)
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		h.links(func(b *link.Batch) {
			b.CreateVeth(link.Veth{Name: "cnv0", Group: 4, Peer: link.Peer{Name: "eth0", Namespace: ns.Fd()}})
		})
		if err := ns.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := WaitQuiet(ctx, before); err != nil {
			t.Error(err)
		}
		if lines := take(t).Diff(before); len(lines) > 0 {
			t.Errorf("quiet, and not as before:\n%s", strings.Join(lines, "\n"))
		}
		h.links(func(b *link.Batch) { b.CreateVeth(link.Veth{Name: "cnv1", Group: 4, Peer: link.Peer{Name: "x"}}) })
		soon, cancel2 := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel2()
		if err := WaitQuiet(soon, before); err == nil || !strings.Contains(err.Error(), "link cnv1") {
			t.Errorf("error %v, want one that names the link that is left", err)
		}
	})
}

func TestCheckNamesWhatIsForeign(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		if found := Check(t.Context(), cnm.Records{}, scope()); len(found) > 0 {
			t.Fatalf("an empty host has %q", found)
		}
		h := newHand(t)
		h.links(func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "cn-1", Index: 60, MAC: link.MAC{2, 0, 0, 0, 0, 1}})
			b.CreateVeth(link.Veth{Name: "cnv1", Index: 61, Master: 60, Peer: link.Peer{Name: "cns1", Index: 62}})
			b.AddFDB(link.FDBEntry{Link: 61, MAC: link.MAC{2, 0, 0, 0, 0, 9}, Master: true})
			b.AddNeighbour(link.Neighbour{Link: 60, Addr: netip.MustParseAddr("192.0.2.7"), MAC: link.MAC{2, 0, 0, 0, 0, 7}})
			b.CreateVeth(link.Veth{Name: "cnv2", Group: 5, Peer: link.Peer{Name: "theirs"}}) // waits to be deleted
		})
		table := nft.TableID{Family: nft.Inet, Name: "cnm"}
		set := &nft.Set{Table: table, Name: "nets", Key: []nft.Type{nft.TypeIfname}}
		h.tables(func(tx *nft.Tx) {
			tx.AddTable(nft.Table{TableID: table})
			tx.AddSet(set)
			tx.AddElements(set, nft.Key(nft.Ifname("cn-1")))
		})
		if err := os.MkdirAll("/run/x/netns", 0o755); err != nil {
			t.Fatal(err)
		}
		pin := filepath.Join("/run/x/netns", "left")
		if _, err := netns.Make(pin, nil); err != nil {
			t.Fatal(err)
		}
		want := []string{
			`element inet cnm nets "cn-1" is foreign`,
			"forwarding entry 02:00:00:00:00:09 on cnv1 is foreign",
			"link cn-1 is foreign", "link cns1 is foreign", "link cnv1 is foreign",
			"neighbour 192.0.2.7 on cn-1 is foreign",
			"pin /run/x/netns/left is foreign",
		}
		if found := Check(t.Context(), cnm.Records{}, scope()); !slices.Equal(found, want) {
			t.Errorf("found\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
		}
		if err := netns.Unpin(pin); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCheckNamesDanglingRecords(t *testing.T) {
	t.Parallel()
	r := cnm.Records{
		Networks:  []cnm.Network{{ID: "n", Name: "red", Driver: "null", State: cnm.Ready}},
		Endpoints: []cnm.Endpoint{{ID: "e", Network: "m", Name: "web"}, {ID: "f", Network: "n", Name: "a"}, {ID: "g", Network: "n", Name: "b"}},
		Sandboxes: []cnm.Sandbox{{ID: "s", Name: "box", State: cnm.Creating}},
		Joins: []cnm.Join{
			{Endpoint: "x", Network: "n", Sandbox: "s"},
			{Endpoint: "f", Network: "n", Sandbox: "s"},
			{Endpoint: "g", Network: "n", Sandbox: "s"},
		},
	}
	_, found := attachments(r)
	want := []string{
		"record of endpoint web: its network m is not recorded",
		"record of the join of endpoint x: it names what is not recorded",
		"records: sandbox box is twice on one network, by a and b",
	}
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}
