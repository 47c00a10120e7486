// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
	"github.com/libnetwork/cnm/ports"
)

// newReal is a driver of its real parts, in the namespace of the test.
func newReal(t *testing.T) *Driver {
	t.Helper()
	kerneltest.Clear(t)
	log := slog.New(slog.DiscardHandler)
	fw, err := firewall.Open(t.Context(), firewall.Config{Log: log})
	must(t, err)
	holder, err := ports.New(ports.Config{Log: log})
	must(t, err)
	d, err := New(Config{Log: log, Firewall: fw, Ports: holder, Group: 1 << 20, Published: func(cnm.Port) {}})
	must(t, err)
	t.Cleanup(func() {
		must(t, d.Close())
		holder.Close()
		must(t, fw.Close())
	})
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enter joins endpoint number n, 3 and up, of blue to a namespace.
func enter(t *testing.T, d *Driver, n int, ns *netns.NS) cnm.Attachment {
	t.Helper()
	at := web(blue())
	at.Endpoint.ID = cnm.EndpointID(fmt.Sprintf("%032d", n))
	at.Endpoint.MAC[5], at.Endpoint.Addresses = byte(n), nil
	for _, s := range at.Network.Subnets {
		a := s.Gateway
		for range n {
			a = a.Next()
		}
		at.Endpoint.Addresses = append(at.Endpoint.Addresses, netip.PrefixFrom(a, s.Prefix.Bits()))
	}
	at.Join.Endpoint, at.Join.Number = at.Endpoint.ID, uint64(1<<40+n)
	var err error
	at.Join.Result, err = d.Join(t.Context(), cnm.JoinRequest{Attachment: at, NamespaceFD: ns.Fd()})
	must(t, err)
	conn, err := link.Dial(ns.Fd())
	must(t, err)
	var b link.Batch
	b.SetLink(link.Change{Link: link.Named("eth0"), AddrGenMode: link.AddrGenNone, Up: link.On})
	must(t, errors.Join(conn.Do(&b), conn.Close()))
	_, err = d.conn.Link(link.Named(at.Join.Result.Link.Host)) // which brings its carrier up to date
	must(t, err)
	return at
}

// TestOrphans: a link is in somebody's use while it is in service; what a network without endpoints leaves is in nobody's.
func TestOrphans(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		d := newReal(t)
		is := func(when, want string) {
			t.Helper()
			if got, err := d.Orphans(t.Context()); err != nil || got != want {
				t.Errorf("%s the orphan is %q (%v), want %q", when, got, err, want)
			}
		}
		var b link.Batch
		b.CreateVeth(link.Veth{Name: "cnv0", Peer: link.Peer{Name: "cnvold"}})
		b.SetLink(link.Change{Link: link.Named("cnv0"), Up: link.On})
		must(t, d.conn.Do(&b))
		must(t, d.CreateNetwork(t.Context(), blue()))
		is("without endpoints", "")
		at := enter(t, d, 3, kerneltest.NewNS(t))
		is("with one", "link "+at.Join.Result.Link.Host+" of an endpoint")
		b = link.Batch{}
		b.SetLink(link.Change{Link: link.Named(at.Join.Result.Link.Host), Up: link.Off})
		must(t, d.conn.Do(&b))
		is("when it is out of service", "")
		must(t, d.Leave(t.Context(), at))
		must(t, d.DeleteNetwork(t.Context(), blue()))
	})
}

// TestShardsAreSilent asks for the gateway's MAC from each bridge of a network: the hub answers, and no shard with it.
func TestShardsAreSilent(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		d := newReal(t)
		must(t, d.CreateNetwork(t.Context(), blue()))
		n := d.nets[blue().ID]
		var all []cnm.Attachment
		for i, bridge := range []string{"cn-0123456789ab", shardName(blue().ID, 1), shardName(blue().ID, 2)} {
			for _, s := range n.shards {
				s.room = 0
			}
			if i == 0 {
				n.shards[0].room = 1
			}
			ns := kerneltest.NewNS(t)
			at := enter(t, d, i+3, ns)
			all = append(all, at)
			if at.Join.Result.Link.Bridge != bridge {
				t.Fatalf("endpoint %d is on %s, want %s", i, at.Join.Result.Link.Bridge, bridge)
			}
			if got, want := asks(t, ns, at), []link.MAC{link.MAC(n.plan.mac)}; !slices.Equal(got, want) {
				t.Errorf("on %s the gateway's address is answered by %v, want %v", bridge, got, want)
			}
		}
		// What others alter is put right.
		key := "net/ipv4/conf/" + shardName(blue().ID, 2) + "/arp_ignore"
		if d.settingsDiffer(t.Context()) {
			t.Error("settings differ and nobody altered one")
		}
		must(t, sysctl.Write(key, "0"))
		if !d.settingsDiffer(t.Context()) {
			t.Errorf("that %s was altered is not seen", key)
		}
		_, err := d.Reconcile(t.Context(), cnm.Wanted{All: true, Networks: []cnm.Network{blue()}, Attachments: all})
		must(t, err)
		if v, err := sysctl.Read(key); err != nil || v != "8" {
			t.Errorf("%s is %q (%v), want 8", key, v, err)
		}
		for _, at := range all {
			must(t, d.Leave(t.Context(), at))
		}
		must(t, d.DeleteNetwork(t.Context(), blue()))
	})
}

// asks has an endpoint ask for the gateway's MAC until somebody answers, since a new link may lose what is sent at first, and gives the
// different MACs of the answers until none has come for a while.
func asks(t *testing.T, ns *netns.NS, at cnm.Attachment) []link.MAC {
	t.Helper()
	const all = unix.ETH_P_ARP<<8&0xff00 | unix.ETH_P_ARP>>8 // in network byte order
	var fd int
	must(t, ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		return err
	}))
	defer func() { must(t, unix.Close(fd)) }()
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: at.Join.Result.Link.Index}))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: int64(300 * time.Millisecond / time.Microsecond)}))
	mac, own := at.Endpoint.MAC, at.Endpoint.Address(cnm.IPv4)
	gateway := at.Network.Gateway(cnm.IPv4)
	request := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac[:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac[:], own.AsSlice(), make([]byte, 6), gateway.AsSlice(), make([]byte, 18))
	ask := func() {
		_, err := unix.Write(fd, request)
		must(t, err)
	}
	ask()
	var answers []link.MAC
	late := time.Now().Add(20 * time.Second)
	for buf := make([]byte, 128); ; {
		k, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		switch {
		case errors.Is(err, unix.EAGAIN) && len(answers) == 0 && time.Now().Before(late):
			ask()
			continue
		case errors.Is(err, unix.EAGAIN):
			return answers
		}
		must(t, err)
		if mac := link.MAC(buf[22:28]); k >= 42 && buf[21] == 2 && bytes.Equal(buf[28:32], gateway.AsSlice()) && !slices.Contains(answers, mac) {
			answers = append(answers, mac)
		}
	}
}
