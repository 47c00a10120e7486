// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"context"
	"net/netip"
)

// Driver makes networks real. It is the CNM's six verbs. Each is idempotent: called again with the same records it
// changes nothing, and so it is its own replay after a crash; the delete verbs succeed on what is not there. A driver
// answers with values and keeps no record: what it must know again is in the records it is given. All methods may be
// called concurrently, never twice at once for one endpoint. Errors are [Error] values.
type Driver interface {
	// CreateNetwork makes what the network needs on the host.
	CreateNetwork(ctx context.Context, nw Network) error
	// DeleteNetwork removes it. The network has no endpoints any more.
	DeleteNetwork(ctx context.Context, nw Network) error
	// CreateEndpoint decides what the endpoint left open. It makes no link.
	CreateEndpoint(ctx context.Context, nw Network, ep Endpoint) (EndpointPatch, error)
	// DeleteEndpoint forgets the endpoint. It is in no sandbox any more.
	DeleteEndpoint(ctx context.Context, nw Network, ep Endpoint) error
	// Join holds the ports, commits the rules, then makes the link: in place where the namespace is known.
	Join(ctx context.Context, req JoinRequest) (JoinResult, error)
	// Leave withdraws rules and ports and ends the link, also when the namespace is gone.
	Leave(ctx context.Context, at Attachment) error
}

// EndpointPatch is what a driver decided for a new endpoint; zero fields leave the record as it is.
type EndpointPatch struct {
	MAC       MAC
	Addresses []netip.Prefix
}

// Attachment is an endpoint in a sandbox with the records around it.
type Attachment struct {
	Network  Network
	Endpoint Endpoint
	Sandbox  Sandbox
	Join     Join
}

// JoinRequest is everything a driver may see of a join.
type JoinRequest struct {
	Attachment
	// NamespaceFD is an open descriptor of the sandbox's namespace, valid during the call and owned by the caller; negative
	// where the namespace is not known yet (then the driver answers with a link in the host's stack, to be moved by
	// whoever makes the namespace).
	NamespaceFD int
}

// JoinResult is what a driver made, and what the sandbox has to be told about it.
type JoinResult struct {
	Link       Link
	Gateways   []netip.Addr // at most one a family
	Routes     []Route
	Neighbours []Neighbour // permanent
	MTU        int         // bytes
	Ports      []Port      // published
	// Routers: router advertisements of others may come in by the link. The sandbox is told not to listen to them.
	Routers bool
}

// Gateway is the gateway of the family; invalid if there is none.
func (r *JoinResult) Gateway(f Family) netip.Addr {
	for _, g := range r.Gateways {
		if FamilyOf(g) == f {
			return g
		}
	}
	return netip.Addr{}
}

// Link is the interface of an endpoint. The zero value is no link at all (host and null networks).
type Link struct {
	// Name is the interface: inside the namespace where InPlace, else in the host's stack, to be moved and renamed by whoever
	// makes the namespace, who sees to all inside of it too.
	Name    string
	Index   int // in the namespace where InPlace; the host-side link has it too
	InPlace bool
	Host    string // the host-side link; "" if there is none
	Bridge  string // the bridge that the host-side link is a port of; "" if there is none
}

// Route is a route beside the gateway's default route.
type Route struct {
	Prefix netip.Prefix
	Via    netip.Addr // invalid: on the link
}

// Neighbour is a permanent entry of the sandbox's neighbour table.
type Neighbour struct {
	Address netip.Addr
	MAC     MAC
}

// The interfaces below are optional. A driver that has one is found by type assertion; one that has not is not asked.
// What a caller wants and the driver cannot do is refused as [Unsupported], never ignored.

// Describer tells what a driver can do here and now.
type Describer interface {
	Describe(ctx context.Context) Description
}

// Description is what a driver or an address manager says of itself.
type Description struct {
	Addresses  bool // its networks have subnets, from an address manager
	HostStack  bool // its endpoints join the host's own stack, and nothing else does
	Publishes  bool // it has [Publisher] and takes ports at Join
	Options    []Option
	Unfit      []string // features this kernel lacks, each with the version that has it
	MACsNeeded bool     // an address manager that must know the MAC before it gives an address
}

// Option describes one key of a driver's options, from the same table that decodes it.
type Option struct {
	Key     string
	On      string // "network" or "endpoint"
	Type    string // "bool", "address", "name", ...
	Default string
	Meaning string
}

// Decoder checks options strictly before any record exists: an unknown key is an error that names it. ep is nil when a
// network is checked.
type Decoder interface {
	Decode(nw Network, ep *Endpoint) error
}

// Publisher replaces the whole list of an endpoint's published ports while it runs. at.Endpoint.Publish is the
// wanted list, at.Join.Result.Ports what is bound now; ports in both stay bound throughout. The result is what is
// bound afterwards; on an error nothing has changed.
type Publisher interface {
	Publish(ctx context.Context, at Attachment) ([]Port, error)
}

// Gatekeeper learns that an endpoint gained or lost its sandbox's default route.
type Gatekeeper interface {
	Gate(ctx context.Context, at Attachment) error
}

// Wanted is what the kernel should hold by the records of one driver or stack. While it is used none of its objects is in
// the middle of a change.
type Wanted struct {
	// All: these are all records there are, so what carries our mark in the kernel and is not among them is foreign.
	// Otherwise only these objects are to be looked at.
	All         bool
	Networks    []Network
	Attachments []Attachment
	Sandboxes   []Sandbox
}

// Declarer states the rules of all records. At a start it is called on every driver inside one [Together], before any
// [Reconciler]: so the firewall is whole in one transaction before a single link is touched. It also takes
// the published ports' sockets again; a port that another took meanwhile is returned as a drift.
type Declarer interface {
	Declare(ctx context.Context, w Wanted) ([]Drift, error)
}

// Reconciler compares the kernel with the wanted records and repairs it. It returns what differed. Where the records are
// all there are, it also removes what carries our mark and is in none of them: so what it is about to make is not on record until it is
// complete.
type Reconciler interface {
	Reconcile(ctx context.Context, w Wanted) ([]Drift, error)
}

// Drift is one thing in the kernel that was not as the records say.
type Drift struct {
	Object   string // "link cnv1a2b", "element inet cnm pub4any tcp . 8080", "port 8080/tcp on 0.0.0.0"
	What     string // "missing", "altered: ...", "foreign"
	Repaired bool
	Network  NetworkID
	Endpoint EndpointID
	Sandbox  SandboxID
}

// Watcher hears of changes from outside. Watch blocks until ctx ends, calling hint (which does not block) for each
// thing that may no longer be as it was.
type Watcher interface {
	Watch(ctx context.Context, hint func(Hint)) error
}

// Hint says where to look. The zero value says: everywhere.
type Hint struct {
	Gone   bool   // the namespace with this cookie is gone, or its last process may be
	Cookie uint64 // a namespace; 0 is the host's
	Link   string // a host-side link
}

// Together runs fn so that all rules changed inside it become one firewall transaction, committed when fn
// returns nil and dropped when it does not.
type Together func(ctx context.Context, fn func(ctx context.Context) error) error
