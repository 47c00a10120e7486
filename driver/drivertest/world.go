// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/audit"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

// patience bounds what has to happen, silence what must not: some hundred times what an answer takes.
const (
	patience = 10 * time.Second
	silence  = 300 * time.Millisecond
)

// world is a host with a driver, and the records that a controller would keep.
type world struct {
	t           *testing.T
	factory     Factory
	driver      Instance
	description cnm.Description
	pristine    audit.Picture

	networks  []cnm.Network
	joined    []cnm.Attachment
	sandboxes []*box
	endpoints map[cnm.NetworkID]int // made so far, for their addresses
	joins     uint64
}

func newWorld(t *testing.T, f Factory) *world {
	t.Helper()
	kerneltest.Clear(t) // a firewall's tables outlive a daemon; of links the picture tells at the end
	w := &world{t: t, factory: f, driver: f.Driver(t), endpoints: map[cnm.NetworkID]int{}}
	t.Cleanup(w.close)
	if d, ok := w.driver.Driver.(cnm.Describer); ok {
		w.description = d.Describe(t.Context())
	}
	w.declare()
	w.pristine = w.picture()
	return w
}

// declare is what a controller does first.
func (w *world) declare() {
	w.t.Helper()
	if d, ok := w.driver.Driver.(cnm.Declarer); ok {
		if drifts, err := d.Declare(w.t.Context(), w.wanted()); err != nil || len(drifts) > 0 {
			w.t.Fatalf("declare: %v, %+v", err, drifts)
		}
	}
	w.reconcile()
}

// reconcile has the driver compare the kernel with the records: nothing may differ.
func (w *world) reconcile() {
	w.t.Helper()
	if r, ok := w.driver.Driver.(cnm.Reconciler); ok {
		if drifts, err := r.Reconcile(w.t.Context(), w.wanted()); err != nil || len(drifts) > 0 {
			w.t.Fatalf("reconcile: %v, %+v", err, drifts)
		}
	}
}

func (w *world) wanted() cnm.Wanted {
	return cnm.Wanted{All: true, Networks: w.networks, Attachments: w.joined}
}

func (w *world) close() {
	for _, b := range w.sandboxes {
		b.close()
	}
	w.closeDriver()
	// The standard library keeps the pipes of splice(2) until the collector has passed twice.
	runtime.GC()
	runtime.GC()
}

// closeDriver ends the driver. It may be repeated.
func (w *world) closeDriver() {
	closing := w.driver.Close
	w.driver.Close = nil
	if closing != nil {
		if err := closing(); err != nil {
			w.t.Errorf("close the driver: %v", err)
		}
	}
}

func (w *world) picture() audit.Picture {
	w.t.Helper()
	p, err := audit.Take(w.t.Context(), audit.Scope{})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// same fails the test unless the host is as in an earlier picture.
func (w *world) same(earlier audit.Picture, after string) {
	w.t.Helper()
	if lines := w.picture().Diff(earlier); len(lines) > 0 {
		w.t.Errorf("%s the host is not what it was:\n%s", after, strings.Join(lines, "\n"))
	}
}

// end takes everything down and compares the host with what it was.
func (w *world) end() {
	if w.t.Failed() {
		return
	}
	w.reconcile()
	for len(w.joined) > 0 {
		w.leave(w.joined[0])
	}
	for len(w.networks) > 0 {
		w.deleteNetwork(w.networks[0])
	}
	for _, b := range w.sandboxes {
		b.close()
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := audit.WaitQuiet(ctx, w.pristine); err != nil {
		w.t.Error(err)
	}
	w.same(w.pristine, "after all was deleted")
}

// record is the record of network number n, which has the subnets 10.N.0.0/24 and fd00:N::/64 if the driver has addresses.
func (w *world) record(n int) cnm.Network {
	nw := cnm.Network{ID: cnm.NewNetworkID(), Name: fmt.Sprintf("net%d", n), Options: w.factory.Options, State: cnm.Ready}
	if !w.description.Addresses {
		return nw
	}
	nw.IPv4, nw.IPv6, nw.MTU = true, true, 1500
	for _, p := range []string{fmt.Sprintf("10.%d.0.0/24", n), fmt.Sprintf("fd00:%d::/64", n)} {
		prefix := netip.MustParsePrefix(p)
		nw.Subnets = append(nw.Subnets, cnm.Subnet{Prefix: prefix, Gateway: prefix.Addr().Next()})
	}
	return nw
}

// network makes network number n.
func (w *world) network(n int) cnm.Network {
	w.t.Helper()
	nw := w.record(n)
	if err := w.driver.CreateNetwork(w.t.Context(), nw); err != nil {
		w.t.Fatalf("create network %s: %v", nw.Name, err)
	}
	w.networks = append(w.networks, nw)
	return nw
}

func (w *world) deleteNetwork(nw cnm.Network) {
	w.t.Helper()
	if err := w.driver.DeleteNetwork(w.t.Context(), nw); err != nil {
		w.t.Fatalf("delete network %s: %v", nw.Name, err)
	}
	w.networks = deleteWhere(w.networks, func(x cnm.Network) bool { return x.ID == nw.ID })
}

// endpoint makes an endpoint with an address of each subnet.
func (w *world) endpoint(nw cnm.Network, ports ...cnm.PortSpec) cnm.Endpoint {
	w.t.Helper()
	w.endpoints[nw.ID]++
	ep := cnm.Endpoint{ID: cnm.NewEndpointID(), Network: nw.ID, Name: fmt.Sprintf("ep%d", w.endpoints[nw.ID]), Publish: ports, State: cnm.Ready}
	for _, s := range nw.Subnets {
		a := s.Gateway
		for range w.endpoints[nw.ID] {
			a = a.Next()
		}
		ep.Addresses = append(ep.Addresses, netip.PrefixFrom(a, s.Prefix.Bits()))
	}
	patch, err := w.driver.CreateEndpoint(w.t.Context(), nw, ep)
	if err != nil {
		w.t.Fatalf("create endpoint %s/%s: %v", nw.Name, ep.Name, err)
	}
	if patch.MAC.IsValid() {
		ep.MAC = patch.MAC
	}
	if len(patch.Addresses) > 0 {
		ep.Addresses = patch.Addresses
	}
	return ep
}

// attachment is a join that is about to be made.
func (w *world) attachment(nw cnm.Network, ep cnm.Endpoint, b *box) cnm.Attachment {
	w.joins++
	return cnm.Attachment{Network: nw, Endpoint: ep, Sandbox: b.record, Join: cnm.Join{
		Endpoint: ep.ID, Network: nw.ID, Sandbox: b.record.ID, Number: 1<<40 + w.joins, State: cnm.Joining,
		Interface: fmt.Sprintf("eth%d", len(b.at)),
	}}
}

// join ties an endpoint to a sandbox, and gives the sandbox its half.
func (w *world) join(nw cnm.Network, ep cnm.Endpoint, b *box) cnm.Attachment {
	w.t.Helper()
	at := w.attachment(nw, ep, b)
	var err error
	if at.Join.Result, err = w.driver.Join(w.t.Context(), cnm.JoinRequest{Attachment: at, NamespaceFD: b.fd()}); err != nil {
		w.t.Fatalf("join %s/%s to %s: %v", nw.Name, ep.Name, b.record.Name, err)
	}
	return w.plug(at, b)
}

func (w *world) plug(at cnm.Attachment, b *box) cnm.Attachment {
	w.t.Helper()
	r := at.Join.Result
	at.Join.Default = cnm.FamilySet{IPv4: len(b.at) == 0 && r.Gateway(cnm.IPv4).IsValid(), IPv6: len(b.at) == 0 && r.Gateway(cnm.IPv6).IsValid()}
	at.Join.State, at.Endpoint.State = cnm.Joined, cnm.Joined
	if err := b.plug(at); err != nil {
		w.t.Fatalf("plug %s/%s into %s: %v", at.Network.Name, at.Endpoint.Name, b.record.Name, err)
	}
	b.at = append(b.at, at)
	w.joined = append(w.joined, at)
	return at
}

// leave unties an endpoint.
func (w *world) leave(at cnm.Attachment) {
	w.t.Helper()
	if err := w.driver.Leave(w.t.Context(), at); err != nil {
		w.t.Fatalf("%s/%s leaves %s: %v", at.Network.Name, at.Endpoint.Name, at.Sandbox.Name, err)
	}
	gone := func(x cnm.Attachment) bool { return x.Endpoint.ID == at.Endpoint.ID }
	w.joined = deleteWhere(w.joined, gone)
	for _, b := range w.sandboxes {
		b.at = deleteWhere(b.at, gone)
	}
	if err := w.driver.DeleteEndpoint(w.t.Context(), at.Network, at.Endpoint); err != nil {
		w.t.Fatalf("delete endpoint %s/%s: %v", at.Network.Name, at.Endpoint.Name, err)
	}
}

// deleteWhere is the list without what matches; the given one is left as it is, because others may have it.
func deleteWhere[T any](list []T, match func(T) bool) []T {
	var rest []T
	for _, x := range list {
		if !match(x) {
			rest = append(rest, x)
		}
	}
	return rest
}

// sandbox makes a sandbox with an echo server, on networks.
func (w *world) sandbox(name string, networks ...cnm.Network) *box {
	w.t.Helper()
	b := w.bare(name)
	if err := b.serve(); err != nil {
		w.t.Fatalf("serve in %s: %v", name, err)
	}
	for _, nw := range networks {
		w.join(nw, w.endpoint(nw), b)
	}
	return b
}

// bare is a sandbox with nothing in it; that of a driver whose endpoints are in the host's own stack is the host.
func (w *world) bare(name string) *box {
	w.t.Helper()
	b := &box{record: cnm.Sandbox{ID: cnm.NewSandboxID(), Name: name, Host: w.description.HostStack, State: cnm.Ready}}
	var err error
	if b.record.Host {
		b.ns, err = netns.Current()
	} else {
		b.ns, err = newSandbox()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.sandboxes = append(w.sandboxes, b)
	return b
}
