// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

// LookupNetwork implements the server's contract.
func (f *Fake) LookupNetwork(ref string) (cnm.Network, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.network(ref)
}

func (f *Fake) network(ref string) (cnm.Network, error) {
	return resolve("network", ref, f.recs.Networks, func(n *cnm.Network) (string, string) { return string(n.ID), n.Name })
}

// CreateNetwork implements the server's contract.
func (f *Fake) CreateNetwork(ctx context.Context, spec cnm.NetworkSpec) (cnm.Network, error) {
	err := f.begin(ctx, "CreateNetwork")
	defer f.mu.Unlock()
	if err != nil {
		return cnm.Network{}, err
	}
	if err := cnm.CheckName("name", spec.Name); err != nil {
		return cnm.Network{}, err
	}
	if _, err := f.network(spec.Name); err == nil {
		return cnm.Network{}, cnm.FieldErrorf(cnm.Exists, "name", "network %q is already there", spec.Name)
	}
	on := func(b *bool) bool { return b == nil || *b }
	nw := cnm.Network{
		ID: cnm.NetworkID(f.id()), Name: spec.Name, Driver: cmp.Or(spec.Driver, "bridge"),
		IPv4: on(spec.IPv4), IPv6: on(spec.IPv6), Subnets: spec.Subnets, IPAM: cmp.Or(spec.IPAM, "pool"), IPAMOptions: spec.IPAMOptions,
		Internal: spec.Internal, IsolateEndpoints: spec.IsolateEndpoints, MTU: spec.MTU, DNS: spec.DNS,
		Options: spec.Options, Labels: spec.Labels, Created: f.now(), State: cnm.Ready,
	}
	if len(nw.Subnets) == 0 && nw.IPv4 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, 0}), 24)
		nw.Subnets = []cnm.Subnet{{Prefix: p, Gateway: addressOf(p, 1)}}
	}
	f.recs.Networks = append(f.recs.Networks, nw)
	f.tell(cnm.Event{Object: "network", Action: "create", Network: nw.ID, Name: nw.Name})
	return nw, nil
}

// DeleteNetwork implements the server's contract.
func (f *Fake) DeleteNetwork(ctx context.Context, id cnm.NetworkID, force bool) error {
	err := f.begin(ctx, "DeleteNetwork")
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	for _, ep := range slices.Clone(f.recs.Endpoints) {
		if ep.Network != id {
			continue
		}
		if !force {
			return cnm.Errorf(cnm.Busy, "the network has endpoints; delete them first, or use --force")
		}
		f.drop(ep.ID)
	}
	f.recs.Networks = slices.DeleteFunc(f.recs.Networks, func(n cnm.Network) bool { return n.ID == id })
	f.tell(cnm.Event{Object: "network", Action: "delete", Network: id})
	return nil
}

// LookupSandbox implements the server's contract.
func (f *Fake) LookupSandbox(ref string) (cnm.Sandbox, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sandbox(ref)
}

func (f *Fake) sandbox(ref string) (cnm.Sandbox, error) {
	return resolve("sandbox", ref, f.recs.Sandboxes, func(s *cnm.Sandbox) (string, string) { return string(s.ID), s.Name })
}

// CreateSandbox implements the server's contract.
func (f *Fake) CreateSandbox(ctx context.Context, spec cnm.SandboxSpec) (cnm.Sandbox, error) {
	err := f.begin(ctx, "CreateSandbox")
	defer f.mu.Unlock()
	if err != nil {
		return cnm.Sandbox{}, err
	}
	if err := cnm.CheckName("name", spec.Name); err != nil {
		return cnm.Sandbox{}, err
	}
	if _, err := f.sandbox(spec.Name); err == nil {
		return cnm.Sandbox{}, cnm.FieldErrorf(cnm.Exists, "name", "sandbox %q is already there", spec.Name)
	}
	sb := cnm.Sandbox{
		ID: cnm.SandboxID(f.id()), Name: spec.Name, PID: spec.PID, Host: spec.Host,
		Namespace: cnm.Namespace{Path: cmp.Or(spec.Path, "/run/cnm/netns/"+spec.Name), Cookie: uint64(4100 + f.count)},
		Owned:     spec.Path == "" && spec.PID == 0 && !spec.Host,
		Hostname:  spec.Hostname, DNS: spec.DNS, DNSSearch: spec.DNSSearch, ExtraHosts: spec.ExtraHosts,
		Labels: spec.Labels, Created: f.now(), State: cnm.Ready,
	}
	f.recs.Sandboxes = append(f.recs.Sandboxes, sb)
	f.tell(cnm.Event{Object: "sandbox", Action: "create", Sandbox: sb.ID, Name: sb.Name})
	return sb, nil
}

// DeleteSandbox implements the server's contract.
func (f *Fake) DeleteSandbox(ctx context.Context, id cnm.SandboxID) error {
	return f.deleteSandbox(ctx, "DeleteSandbox", id, false)
}

// PruneSandbox implements the server's contract.
func (f *Fake) PruneSandbox(ctx context.Context, id cnm.SandboxID) error {
	return f.deleteSandbox(ctx, "PruneSandbox", id, true)
}

func (f *Fake) deleteSandbox(ctx context.Context, method string, id cnm.SandboxID, unused bool) error {
	err := f.begin(ctx, method)
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	for _, j := range slices.Clone(f.recs.Joins) {
		if j.Sandbox != id {
			continue
		}
		if unused {
			return cnm.Errorf(cnm.Busy, "the sandbox has endpoints; detach them first")
		}
		f.drop(j.Endpoint)
	}
	f.recs.Sandboxes = slices.DeleteFunc(f.recs.Sandboxes, func(s cnm.Sandbox) bool { return s.ID == id })
	f.tell(cnm.Event{Object: "sandbox", Action: "delete", Sandbox: id})
	return nil
}
