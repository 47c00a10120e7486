// SPDX-License-Identifier: Apache-2.0

package cnm

import "context"

// Stack realises sandboxes. Methods may be called concurrently, never twice at once for one sandbox. It
// never follows a symbolic link out of its own directory and never leaves a thread in a foreign namespace.
type Stack interface {
	// Create makes and pins the sandbox's namespace, or checks the one to adopt, and returns where it is and which it
	// is. The host's own namespace is refused unless sb.Host says so. record, where there is one, is called with the namespace before
	// it is pinned, so that none lasts that is not on record; its error is returned as it is, and nothing is left then.
	Create(ctx context.Context, sb Sandbox, record func(Namespace) error) (Namespace, error)
	// Delete unpins a namespace that is ours; one that is not is left alone. Deleting what is not there succeeds.
	Delete(ctx context.Context, sb Sandbox) error
	// Open opens the namespace and checks its cookie; NotFound if it is gone or another. The caller closes it.
	Open(ctx context.Context, sb Sandbox) (OpenNamespace, error)
	Plugger
	// Reconcile compares the wanted sandboxes and their attachments with the kernel and repairs it, as a [Reconciler].
	Reconcile(ctx context.Context, w Wanted) ([]Drift, error)
}

// Plugger is what a [Stack] does for an endpoint in an open namespace.
type Plugger interface {
	// Plug gives the endpoint's link in the namespace its addresses, routes, rules and neighbours. at.Join.Default says
	// whether the main table's default route is this endpoint's. Plugging again with other records changes what differs.
	Plug(ctx context.Context, ns OpenNamespace, at Attachment) error
	// Await waits until the addresses that Plug gave the endpoint answer, which the kernel sees to by itself: the caller may do other
	// things in between.
	Await(ctx context.Context, ns OpenNamespace, at Attachment) error
	// Unplug removes what Plug added beside the link and what goes with it.
	Unplug(ctx context.Context, ns OpenNamespace, at Attachment) error
}

// Furnisher is what a [Stack] may have besides: it prepares a namespace of ours for processes, once, before the first one is
// started there. A sandbox that never gets one is not slowed down by it.
type Furnisher interface {
	Furnish(ctx context.Context, ns OpenNamespace) error
}

// OpenNamespace is a namespace held open. It keeps the namespace alive: hold it for one call only.
type OpenNamespace interface {
	FD() int
	Close() error
}

// Names serves a sandbox's names: the hosts and resolv.conf files that whoever starts a process there may mount.
type Names interface {
	// Files writes the sandbox's files and returns where they are. Until Drop they follow Put.
	Files(ctx context.Context, sb Sandbox, at []Attachment) (NameFiles, error)
	// Put brings existing files up to date; a sandbox without files is left without.
	Put(ctx context.Context, sb Sandbox, at []Attachment) error
	// Drop removes them.
	Drop(ctx context.Context, id SandboxID) error
}

// NameFiles are paths on the host.
type NameFiles struct {
	Hosts, ResolvConf, Hostname string
}
