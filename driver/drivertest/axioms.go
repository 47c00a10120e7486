// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/audit"
	"github.com/libnetwork/cnm/kernel/netns"
)

func describes(w *world) {
	_, publisher := w.driver.Driver.(cnm.Publisher)
	if publisher != w.description.Publishes {
		w.t.Errorf("it says that it publishes: %t; it has a Publisher: %t", w.description.Publishes, publisher)
	}
	if w.description.HostStack && w.description.Addresses {
		w.t.Error("endpoints in the host's own stack have no addresses of their own")
	}
	keys := map[string]bool{}
	for _, o := range w.description.Options {
		if o.Key == "" || o.Type == "" || o.Meaning == "" || o.On != "network" && o.On != "endpoint" || keys[o.On+o.Key] {
			w.t.Errorf("option %+v is not described, or twice", o)
		}
		keys[o.On+o.Key] = true
	}
}

func reach(w *world) {
	nw := w.network(1)
	a, b := w.sandbox("a", nw), w.sandbox("b", nw)
	answered(w.t, append(asks(a, b, nw), asks(b, a, nw)...)...)
}

func apart(w *world) {
	red, blue := w.network(1), w.network(2)
	a, b, c := w.sandbox("a", red), w.sandbox("b", blue), w.sandbox("c", red)
	silent(w.t, append(asks(a, b, blue), asks(b, a, red)...)...)
	answered(w.t, asks(a, c, red)...)
}

func severalNetworks(w *world) {
	red, blue := w.network(1), w.network(2)
	both, a, b := w.sandbox("both", red, blue), w.sandbox("a", red), w.sandbox("b", blue)
	answered(w.t, append(asks(a, both, red), asks(b, both, blue)...)...)
	silent(w.t, append(asks(a, both, blue), asks(a, b, blue)...)...)
	gone := asks(a, both, red)
	w.leave(both.at[0])
	silent(w.t, gone...)
	answered(w.t, append(asks(b, both, blue), asks(both, b, blue)...)...)
}

func oneSandbox(w *world) {
	nw := w.network(1)
	a, first, second := w.sandbox("a", nw), w.sandbox("first", nw), w.sandbox("second")
	answered(w.t, asks(a, first, nw)...)
	at := first.at[0]
	w.leave(at)
	w.quiet()
	if names, err := first.links(); err != nil || len(names) > 0 {
		w.t.Errorf("the sandbox that it left still has links %v, %v", names, err)
	}
	w.join(nw, at.Endpoint, second)
	answered(w.t, append(asks(a, second, nw), asks(second, a, nw)...)...)
}

// quiet waits until ended links are gone.
func (w *world) quiet() {
	w.t.Helper()
	if err := audit.WaitQuiet(w.t.Context(), audit.Picture{Namespaces: 1 << 20}); err != nil {
		w.t.Fatal(err)
	}
}

// again does every verb twice.
func again(w *world) {
	ctx := w.t.Context()
	nw := w.network(1)
	b := w.bare("box")
	ep := w.endpoint(nw)
	at := w.attachment(nw, ep, b)
	var first cnm.JoinResult
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"create network", func() error { return w.driver.CreateNetwork(ctx, nw) }},
		{"create endpoint", func() error {
			patch, err := w.driver.CreateEndpoint(ctx, nw, ep)
			if patch.MAC.IsValid() && patch.MAC != ep.MAC {
				w.t.Errorf("create endpoint decides on mac %s, and before on %s", patch.MAC, ep.MAC)
			}
			return err
		}},
		{"join", func() error {
			r, err := w.driver.Join(ctx, cnm.JoinRequest{Attachment: at, NamespaceFD: b.fd()})
			if !reflect.DeepEqual(first, cnm.JoinResult{}) && err == nil && !reflect.DeepEqual(r, first) {
				w.t.Errorf("join gives\n%+v, and before\n%+v", r, first)
			}
			first, at.Join.Result = r, r
			return err
		}},
		{"leave", func() error { defer w.quiet(); return w.driver.Leave(ctx, at) }},
		{"delete endpoint", func() error { return w.driver.DeleteEndpoint(ctx, nw, ep) }},
		{"delete network", func() error { return w.driver.DeleteNetwork(ctx, nw) }},
	} {
		if err := step.do(); err != nil {
			w.t.Fatalf("%s: %v", step.name, err)
		}
		once := w.picture()
		if err := step.do(); err != nil {
			w.t.Fatalf("%s, done again: %v", step.name, err)
		}
		w.same(once, step.name+", done again:")
	}
	w.networks = nil
}

func absent(w *world) {
	ctx := w.t.Context()
	nw := w.record(9)
	b := w.bare("box")
	ep := cnm.Endpoint{ID: cnm.NewEndpointID(), Network: nw.ID, Name: "ep", MAC: cnm.MAC{2, 0, 0, 0, 0, 9}}
	at := w.attachment(nw, ep, b)
	before := w.picture()
	for name, err := range map[string]error{
		"leave":           w.driver.Leave(ctx, at),
		"delete endpoint": w.driver.DeleteEndpoint(ctx, nw, ep),
		"delete network":  w.driver.DeleteNetwork(ctx, nw),
	} {
		if err != nil {
			w.t.Errorf("%s of what is not there: %v", name, err)
		}
	}
	w.same(before, "after ending what was not there")
}

func namespaceGone(w *world) {
	nw := w.network(1)
	a, b := w.sandbox("a", nw), w.sandbox("b", nw)
	answered(w.t, asks(a, b, nw)...)
	before := w.picture()
	gone := w.sandbox("gone", nw)
	at := gone.at[0]
	gone.close()
	w.leave(at)
	w.quietUpTo(before)
	w.same(before, "after a sandbox that was gone was left")
	answered(w.t, asks(a, b, nw)...)
}

// quietUpTo waits until ended links and namespaces are gone.
func (w *world) quietUpTo(earlier audit.Picture) {
	w.t.Helper()
	if err := audit.WaitQuiet(w.t.Context(), earlier); err != nil {
		w.t.Fatal(err)
	}
}

// publish publishes on the host's loopback and on an address of its own, over both families.
func publish(w *world) {
	nw := w.network(1)
	b := w.bare("server")
	if err := b.serve(); err != nil {
		w.t.Fatal(err)
	}
	ports := []cnm.PortSpec{
		{Proto: cnm.TCP, HostPort: 8007, HostPortEnd: 8007, Port: echoPort},
		{Proto: cnm.UDP, HostPort: 8007, HostPortEnd: 8007, Port: echoPort},
	}
	at := w.join(nw, w.endpoint(nw, ports...), b)
	at.Endpoint.Publish = ports
	host := w.host()
	answered(w.t, host...)
	publisher, ok := w.driver.Driver.(cnm.Publisher)
	if !ok {
		w.t.Fatal("it takes ports at a join and cannot change them")
	}
	for _, list := range [][]cnm.PortSpec{nil, ports} {
		at.Endpoint.Publish = list
		bound, err := publisher.Publish(w.t.Context(), at)
		if err != nil {
			w.t.Fatalf("publish %v: %v", list, err)
		}
		at.Join.Result.Ports = bound
		if len(list) == 0 {
			silent(w.t, host...)
			continue
		}
		answered(w.t, host...)
	}
	w.joined = append(deleteWhere(w.joined, func(x cnm.Attachment) bool { return x.Endpoint.ID == at.Endpoint.ID }), at)
}

// host asks the published ports from the host itself.
func (w *world) host() []probe {
	w.t.Helper()
	ns, err := netns.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ns.Close() })
	var all []probe
	for _, a := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		for _, proto := range []string{"tcp", "udp"} {
			all = append(all, probe{ns, "the host", proto, netip.AddrPortFrom(a, 8007)})
		}
	}
	return all
}

func restart(w *world) {
	nw := w.network(1)
	a, b := w.sandbox("a", nw), w.sandbox("b", nw)
	before := w.picture()
	w.closeDriver()
	answered(w.t, asks(a, b, nw)...)
	w.driver = w.factory.Driver(w.t)
	w.declare()
	w.same(before, "after a restart")
	answered(w.t, append(asks(a, b, nw), asks(b, a, nw)...)...)
	c := w.sandbox("c", nw)
	answered(w.t, append(asks(a, c, nw), asks(c, b, nw)...)...)
}

func unknownOption(w *world) {
	d, ok := w.driver.Driver.(cnm.Decoder)
	if !ok {
		return // such a driver takes no options, which is for the controller to see to
	}
	nw := w.record(9)
	if err := d.Decode(nw, nil); err != nil {
		w.t.Errorf("options %v are refused: %v", nw.Options, err)
	}
	ep := cnm.Endpoint{Options: map[string]string{"no-such": "x"}}
	nw.Options = map[string]string{"no-such": "x"}
	plain := w.record(9)
	for name, err := range map[string]error{"network": d.Decode(nw, nil), "endpoint": d.Decode(plain, &ep)} {
		if !errors.Is(err, cnm.Invalid) || !strings.Contains(err.Error(), "no-such") {
			w.t.Errorf("an unknown option of a %s is answered by %v, not by an invalid one that names it", name, err)
		}
	}
}

func noLink(w *world) {
	nw := w.network(1)
	b := w.bare("box")
	before, err := b.links()
	if err != nil {
		w.t.Fatal(err)
	}
	at := w.join(nw, w.endpoint(nw), b)
	after, err := b.links()
	if err != nil || len(before) != len(after) || at.Join.Result.Link != (cnm.Link{}) || len(at.Join.Result.Ports) > 0 {
		w.t.Errorf("links before %v and after %v (%v), result %+v, want the same and an empty one", before, after, err, at.Join.Result)
	}
	if w.description.HostStack {
		other := b.record
		other.Host = false
		at.Sandbox = other
		if _, err := w.driver.Join(w.t.Context(), cnm.JoinRequest{Attachment: at, NamespaceFD: b.fd()}); !errors.Is(err, cnm.Invalid) {
			w.t.Errorf("another sandbox than the host joins the host's stack: %v", err)
		}
	}
}
