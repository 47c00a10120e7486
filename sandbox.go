// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"net/netip"
	"time"
)

// SandboxSpec is what a caller asks for. At most one of Path, PID and Host is set; with none, the namespace is made and owned by us.
type SandboxSpec struct {
	Name string
	Path string // adopt the network namespace at this path
	PID  int    // adopt the network namespace of this process
	Host bool   // the one sandbox that is the host's own stack

	// Await: the namespace at Path may be made later, by somebody else, who then moves the links of the endpoints that joined
	// before into it and sees to all inside of it that concerns them.
	Await bool
	// Unrouted: whoever owns the namespace sets its default routes.
	Unrouted bool

	Hostname   string
	DNS        []netip.Addr
	DNSSearch  []string
	ExtraHosts []HostEntry
	Labels     map[string]string
}

// HostEntry is one line of a hosts file.
type HostEntry struct {
	Name    string
	Address netip.Addr
}

// Sandbox is the record of an isolated network stack: on Linux a network namespace, made by us or by a runtime. It may
// hold many endpoints, at most one per network. It lives no longer than the boot. It is a value, treated as immutable.
type Sandbox struct {
	ID   SandboxID
	Name string

	Namespace Namespace
	Owned     bool // made and pinned by us
	Host      bool // the host's own stack
	PID       int  // the process it was adopted from; 0 if none
	Unrouted  bool // its default routes are set by whoever owns the namespace

	Hostname   string
	DNS        []netip.Addr
	DNSSearch  []string
	ExtraHosts []HostEntry
	Labels     map[string]string

	Created time.Time
	State   State
}

// Awaited tells whether the sandbox is there and its namespace is not yet.
func (s *Sandbox) Awaited() bool { return s.State == Ready && s.Namespace.Cookie == 0 }

// Namespace says which network namespace. The path is where to find it, the cookie is its identity: the kernel
// gives a cookie once in a boot (SO_NETNS_COOKIE, Linux 5.14), while inode numbers come again. A cookie of 0 is a namespace
// that is to appear at the path.
// The zero value is a namespace that is not known yet.
type Namespace struct {
	Path   string
	Cookie uint64
}

// IsZero tells whether the namespace is not known yet.
func (n Namespace) IsZero() bool { return n.Path == "" }
