// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/netip"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Sandbox is a sandbox as the API shows it.
type Sandbox struct {
	ID              cnm.SandboxID     `json:"id"`
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace"`               // the path of its network namespace
	NamespaceCookie uint64            `json:"namespace_cookie,string"` // its identity, in decimal
	Owned           bool              `json:"owned"`                   // made and pinned by the daemon
	Host            bool              `json:"host"`                    // the host's own stack
	PID             int               `json:"pid"`                     // the process it was adopted from; 0 if none
	Hostname        string            `json:"hostname"`
	DNS             []netip.Addr      `json:"dns"`
	DNSSearch       []string          `json:"dns_search"`
	AddHosts        []Host            `json:"add_hosts"`
	Labels          map[string]string `json:"labels"`
	Endpoints       []Endpoint        `json:"endpoints"` // those that are in it
	Created         time.Time         `json:"created"`
	State           cnm.State         `json:"state"`
}

// Host is one line of a sandbox's hosts file.
type Host struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
}

// FromSandbox shows a record with the endpoints that are in it.
func FromSandbox(sb *cnm.Sandbox, endpoints []Endpoint) Sandbox {
	out := Sandbox{
		ID: sb.ID, Name: sb.Name, Namespace: sb.Namespace.Path, NamespaceCookie: sb.Namespace.Cookie,
		Owned: sb.Owned, Host: sb.Host, PID: sb.PID, Hostname: sb.Hostname,
		DNS: list(sb.DNS), DNSSearch: list(sb.DNSSearch), AddHosts: make([]Host, 0, len(sb.ExtraHosts)),
		Labels: dict(sb.Labels), Endpoints: list(endpoints), Created: sb.Created, State: sb.State,
	}
	for _, h := range sb.ExtraHosts {
		out.AddHosts = append(out.AddHosts, Host(h))
	}
	return out
}

// SandboxCreate asks for a sandbox. At most one of Netns, PID and Host is set; with none the daemon makes the namespace.
type SandboxCreate struct {
	Name      string            `json:"name"`
	Netns     string            `json:"netns,omitempty"` // adopt the namespace at this path
	PID       int               `json:"pid,omitempty"`   // adopt the namespace of this process
	Host      bool              `json:"host,omitempty"`  // the host's own stack
	Hostname  string            `json:"hostname,omitempty"`
	DNS       []string          `json:"dns,omitempty"`
	DNSSearch []string          `json:"dns_search,omitempty"`
	AddHosts  []HostCreate      `json:"add_hosts,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
}

// HostCreate asks for one line of a sandbox's hosts file.
type HostCreate struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Spec is the request in the model's values. Errors are of kind [cnm.Invalid] and name the field.
func (r *SandboxCreate) Spec() (cnm.SandboxSpec, error) {
	spec := cnm.SandboxSpec{
		Name: r.Name, Path: r.Netns, PID: r.PID, Host: r.Host,
		Hostname: r.Hostname, DNSSearch: r.DNSSearch, Labels: r.Labels,
	}
	if count(r.Netns != "", r.PID != 0, r.Host) > 1 {
		return spec, cnm.FieldErrorf(cnm.Invalid, "netns", "a sandbox has one namespace; give one of netns, pid and host")
	}
	if r.PID < 0 {
		return spec, cnm.FieldErrorf(cnm.Invalid, "pid", "pid %d is no process; give that of a running one", r.PID)
	}
	var err error
	if spec.DNS, err = addrs("dns", r.DNS); err != nil {
		return spec, err
	}
	for _, h := range r.AddHosts {
		a, err := ParseAddr("add-host", h.Address)
		if err != nil {
			return spec, err
		}
		spec.ExtraHosts = append(spec.ExtraHosts, cnm.HostEntry{Name: h.Name, Address: a})
	}
	return spec, nil
}

func count(set ...bool) (n int) {
	for _, b := range set {
		if b {
			n++
		}
	}
	return n
}

// Entry is what there is to know to start a process in a sandbox.
type Entry struct {
	ID              cnm.SandboxID `json:"id"`
	Name            string        `json:"name"`
	Namespace       string        `json:"namespace"`
	NamespaceCookie uint64        `json:"namespace_cookie,string"`
	Host            bool          `json:"host"`
	Hostname        string        `json:"hostname"`
	Files           NameFiles     `json:"files"`
}

// NameFiles are the host's paths of the files that take the place of those in /etc; "" where there is none.
type NameFiles struct {
	Hosts      string `json:"hosts"`
	ResolvConf string `json:"resolv_conf"`
	Hostname   string `json:"hostname"`
}

// FromEntry shows how to enter a sandbox.
func FromEntry(sb *cnm.Sandbox, files cnm.NameFiles) Entry {
	return Entry{
		ID: sb.ID, Name: sb.Name, Namespace: sb.Namespace.Path, NamespaceCookie: sb.Namespace.Cookie,
		Host: sb.Host, Hostname: sb.Hostname, Files: NameFiles(files),
	}
}
