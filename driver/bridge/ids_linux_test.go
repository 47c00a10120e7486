// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"net/netip"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// TestNamespaceIDs: each new namespace is found before all that were there, also by the next process; one that has an
// id keeps it, and what else is refused in the message counts as before.
func TestNamespaceIDs(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ids := func(d *Driver) int {
			t.Helper()
			ns := kerneltest.NewNS(t)
			var b link.Batch
			d.ids.number(&b, ns.Fd())
			must(t, unnumbered(d.conn.Do(&b)))
			id, ok, err := d.conn.NamespaceID(ns.Fd())
			must(t, err)
			if !ok {
				t.Fatal("the namespace has no id")
			}
			return id
		}
		d := newReal(t)
		a, b := ids(d), ids(d)
		next, err := newNamespaceIDs(t.Context(), d.conn)
		must(t, err)
		d.ids = next
		if c := ids(d); a <= b || b <= c {
			t.Errorf("ids %d, %d and %d do not descend", a, b, c)
		}

		at := web(blue())
		must(t, d.CreateNetwork(t.Context(), at.Network))
		old := kerneltest.NewNS(t)
		var batch link.Batch
		batch.AssignNamespaceID(old.Fd(), 7)
		must(t, d.conn.Do(&batch))
		for range 2 { // the second time the link is there, which is the only other refusal
			_, err := d.Join(t.Context(), cnm.JoinRequest{Attachment: at, NamespaceFD: old.Fd(), First: true})
			must(t, err)
		}
		if id, _, err := d.conn.NamespaceID(old.Fd()); id != 7 || err != nil {
			t.Errorf("the namespace's id is %d (%v), was 7", id, err)
		}
		fresh := joinedNew(t, d, at)
		if id, _, err := d.conn.NamespaceID(fresh.Fd()); id <= firstID/2 || err != nil {
			t.Errorf("a new namespace's id is %d (%v)", id, err)
		}
	})
}

// joinedNew joins another endpoint to a new namespace.
func joinedNew(t *testing.T, d *Driver, at cnm.Attachment) *netns.NS {
	t.Helper()
	ns := kerneltest.NewNS(t)
	at.Endpoint.ID, at.Join.Number = "00000000000000000000000000000099", at.Join.Number+1
	at.Join.Endpoint = at.Endpoint.ID
	at.Endpoint.MAC[5]++
	at.Endpoint.Addresses = nil
	for _, s := range at.Network.Subnets {
		a := s.Gateway
		for range 9 {
			a = a.Next()
		}
		at.Endpoint.Addresses = append(at.Endpoint.Addresses, netip.PrefixFrom(a, s.Prefix.Bits()))
	}
	_, err := d.Join(t.Context(), cnm.JoinRequest{Attachment: at, NamespaceFD: ns.Fd(), First: true})
	must(t, err)
	return ns
}
