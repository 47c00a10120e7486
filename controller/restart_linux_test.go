// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// put changes records behind the controller's back, as a crash would leave them.
func (r *rig) put(records cnm.Records) {
	r.t.Helper()
	r.ok(r.store.Store.Put(context.WithoutCancel(r.t.Context()), records))
}

func TestRestartInEveryState(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("red")
		type end struct{ exists, joined bool }
		// By the state of the endpoint and of its join; "" is no join. Both files of the store are written one after the other, so
		// the states may be those of different moments.
		cases := map[[2]cnm.State]end{
			{cnm.Creating, ""}:          {},
			{cnm.Creating, cnm.Joining}: {},
			{cnm.Ready, ""}:             {true, false},
			{cnm.Ready, cnm.Joining}:    {true, false},
			{cnm.Ready, cnm.Leaving}:    {true, false},
			{cnm.Joined, cnm.Joining}:   {true, false},
			{cnm.Joined, cnm.Joined}:    {true, true},
			{cnm.Joined, ""}:            {true, false},
			{cnm.Updating, cnm.Joined}:  {true, true},
			{cnm.Updating, ""}:          {true, false},
			{cnm.Leaving, cnm.Joined}:   {true, false},
			{cnm.Leaving, cnm.Leaving}:  {true, false},
			{cnm.Leaving, ""}:           {true, false},
			{cnm.Deleting, cnm.Joined}:  {},
			{cnm.Deleting, cnm.Leaving}: {},
			{cnm.Deleting, ""}:          {},
		}
		ids := map[[2]cnm.State]cnm.EndpointID{}
		for states := range cases {
			at := r.attach(r.sandbox(fmt.Sprintf("s-%s-%s", states[0], states[1])), red, keep, publish(t, "80"))
			ids[states] = at.Endpoint.ID
			if states[1] == "" {
				r.ok(r.Leave(t.Context(), at.Endpoint.ID))
				at.Join = cnm.Join{}
			}
			at.Endpoint.State, at.Join.State = states[0], states[1]
			switch {
			case states[0] == cnm.Updating:
				at.Endpoint.Publish = ports80(t, "80", "81")
			case states[1] == cnm.Joining:
				at.Join.Result = cnm.JoinResult{} // which only the commit records
			}
			records := cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}}
			if states[1] != "" {
				records.Joins = []cnm.Join{at.Join}
			}
			r.put(records)
		}
		for _, state := range []cnm.State{cnm.Creating, cnm.Deleting} {
			nw, sb := r.network("n-"+string(state)), r.sandbox("n-"+string(state))
			r.attach(sb, nw)
			nw.State, sb.State = state, state
			r.put(cnm.Records{Networks: []cnm.Network{nw}, Sandboxes: []cnm.Sandbox{sb}})
		}
		r.restart()
		r.quiet()
		r.check()
		for states, want := range cases {
			ep, j, exists, joined := r.now(ids[states])
			if exists != want.exists || joined != want.joined {
				t.Errorf("endpoint %s, join %q: it exists %t, is joined %t, want %+v", states[0], states[1], exists, joined, want)
			}
			if states[0] == cnm.Updating && joined && (len(ep.Publish) != 2 || len(j.Result.Ports) != 4) {
				t.Errorf("of %v is published %v", ep.Publish, j.Result.Ports)
			}
		}
		if all := r.Records(t.Context()); len(all.Networks) != 1 || len(all.Sandboxes) != len(cases) {
			t.Errorf("%d networks and %d sandboxes are left", len(all.Networks), len(all.Sandboxes))
		}
	})
}

func TestRestartChangesNothing(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		web := r.sandbox("web")
		r.attach(web, r.network("red"), publish(t, "8080:80"))
		r.attach(web, r.network("blue", func(s *cnm.NetworkSpec) { s.Internal = true }))
		r.attach(r.adopted("box"), r.network("own", func(s *cnm.NetworkSpec) { s.Options = map[string]string{"bridge": "mine0"} }))
		before := r.picture()
		for range 2 {
			r.restart()
			r.check()
			if lines := r.picture().Diff(before); len(lines) > 0 {
				t.Errorf("a restart changed %q", lines)
			}
			if drifts := r.drifts(); len(drifts) > 0 {
				t.Errorf("a restart without a change tells of drifts: %q", drifts)
			}
		}
	})
}

// TestRestartFindsWhatIsGone has a namespace, a bridge and a link vanish while nobody looks.
func TestRestartFindsWhatIsGone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("red")
		gone, kept := r.attach(r.adopted("gone"), red), r.attach(r.adopted("kept"), red, keep)
		stays := r.attach(r.sandbox("stays"), red, publish(t, "8080:80"))
		r.close()
		for _, name := range []string{"gone", "kept"} {
			r.ok(netns.Unpin(filepath.Join(foreignDir, name)))
		}
		var b link.Batch
		b.DeleteLink(link.Named(stays.Join.Result.Link.Bridge))
		r.change(&b)
		r.start()
		r.quiet()
		r.check()
		if _, _, exists, _ := r.now(gone.Endpoint.ID); exists {
			t.Error("the endpoint of a sandbox that is gone is still there")
		}
		if ep, _, exists, joined := r.now(kept.Endpoint.ID); !exists || joined || ep.State != cnm.Ready {
			t.Errorf("the endpoint that is kept is %+v, joined %t", ep, joined)
		}
		at := r.attach(r.sandbox("next"), red)
		if slices.Equal(at.Endpoint.Addresses, kept.Endpoint.Addresses) {
			t.Error("the address of the endpoint that is kept was given away")
		}
	})
}

func TestRestartAfterTheStateIsLost(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("red")
		r.attach(r.sandbox("web"), red)
		r.ok(r.store.Store.Drop(t.Context(), cnm.Keys{Networks: []cnm.NetworkID{red.ID}}))
		r.restart()
		r.quiet()
		r.check()
		if all := r.Records(t.Context()); len(all.Endpoints)+len(all.Joins) > 0 || len(all.Sandboxes) != 1 {
			t.Errorf("what is left: %+v", all)
		}
	})
}

func TestRestartWithoutAnAdoptedBridge(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		adopt := r.network("lan", func(s *cnm.NetworkSpec) {
			s.IPv6, s.Options = new(bool), map[string]string{"adopt": "br0", "allow-overlap": "true"}
			s.Subnets = []cnm.Subnet{{Prefix: prefix("198.51.100.0/24"), Gateway: prefix("198.51.100.1/24").Addr()}}
			var b link.Batch
			b.CreateBridge(link.Bridge{Name: "br0"})
			b.SetLink(link.Change{Link: link.Named("br0"), Up: link.On})
			r.change(&b)
		})
		web := r.sandbox("web")
		r.attach(web, adopt)
		other := r.network("red")
		var b link.Batch
		b.DeleteLink(link.Named("br0"))
		r.change(&b)
		r.restart()
		// Others are not kept from their work.
		r.attach(web, other)
		_, err := r.Attach(t.Context(), cnm.AttachSpec{Sandbox: r.sandbox("db").ID, Network: adopt.ID})
		r.is(err, cnm.Unavailable)
		// It is taken up as soon as it is there.
		r.run()
		events := r.Events(t.Context())
		b = link.Batch{}
		b.CreateBridge(link.Bridge{Name: "br0"})
		b.SetLink(link.Change{Link: link.Named("br0"), Up: link.On})
		r.change(&b)
		r.await(events, "drift", "repair")
		r.stop()
		r.check()
		r.ok(r.DeleteNetwork(t.Context(), adopt.ID, true))
		if v, err := sysctl.Read("net/ipv4/conf/br0/route_localnet"); err != nil || v != "0" {
			t.Errorf("route_localnet of a bridge that was adopted is %q (%v)", v, err)
		}
		b = link.Batch{}
		b.DeleteLink(link.Named("br0"))
		r.change(&b)
		r.restart()
	})
}

// TestAdoptedBridgeIsGivenBack: what a network opened on a bridge of others is closed with it, but nothing that was open before.
func TestAdoptedBridgeIsGivenBack(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		const key = "net/ipv4/conf/br0/route_localnet"
		adopt := func() cnm.Network {
			return r.network("lan", func(s *cnm.NetworkSpec) {
				s.IPv6, s.Options = new(bool), map[string]string{"adopt": "br0"}
				s.Subnets = []cnm.Subnet{{Prefix: prefix("198.51.100.0/24")}}
			})
		}
		is := func(when string, on bool) {
			t.Helper()
			if v, err := sysctl.Read(key); err != nil || (v != "0") != on {
				t.Errorf("%s %s is %q (%v), want it to be on: %t", when, key, v, err, on)
			}
		}
		var b link.Batch
		b.CreateBridge(link.Bridge{Name: "br0"})
		b.SetLink(link.Change{Link: link.Named("br0"), Up: link.On})
		r.change(&b)
		nw := adopt()
		is("adopted", true)
		r.check()
		r.restart()
		r.check()
		r.ok(r.DeleteNetwork(t.Context(), nw.ID, false))
		is("given back after a restart", false)

		r.ok(sysctl.Write(key, "1")) // by somebody else
		nw = adopt()
		r.check()
		r.ok(r.DeleteNetwork(t.Context(), nw.ID, false))
		is("given back to somebody who had it on", true)
		r.ok(sysctl.Write(key, "0"))

		nw = adopt()
		r.ok(r.store.Store.Drop(t.Context(), cnm.Keys{Networks: []cnm.NetworkID{nw.ID}}))
		r.restart()
		is("after the network was lost with the records", false)
		b = link.Batch{}
		b.DeleteLink(link.Named("br0"))
		r.change(&b)
	})
}

func TestLostRecordsMakeItReadOnly(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, web := r.network("red"), r.sandbox("web")
		at := r.attach(web, red)
		before := r.picture()
		all := r.Records(t.Context())
		r.lose = func(records *cnm.Records, cfg *controller.Config) {
			*records = cnm.Records{Networks: all.Networks, Boot: cnm.Boot{Fresh: true, Group: group}}
			cfg.Orphans = func(context.Context) (string, error) { return "links", nil }
		}
		r.restart()
		_, err := r.CreateNetwork(t.Context(), cnm.NetworkSpec{Name: "blue"})
		r.is(err, cnm.Unavailable)
		_, err = r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: "db"})
		r.is(err, cnm.Unavailable)
		_, err = r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "x"})
		r.is(err, cnm.Unavailable)
		r.is(r.DeleteNetwork(t.Context(), red.ID, true), cnm.Unavailable)
		r.is(r.DeleteSandbox(t.Context(), web.ID), cnm.Unavailable)
		r.is(r.PruneSandbox(t.Context(), web.ID), cnm.Unavailable)
		_, err = r.Files(t.Context(), web.ID)
		r.is(err, cnm.Unavailable)
		if lines := r.picture().Diff(before); len(lines) > 0 {
			t.Errorf("what changed without records: %q", lines)
		}
		r.lose = nil
		r.restart()
		if _, _, exists, joined := r.now(at.Endpoint.ID); !exists || !joined {
			t.Error("with the records back the endpoint is not")
		}
		r.check()
	})
}
