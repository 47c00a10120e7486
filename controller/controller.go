// SPDX-License-Identifier: Apache-2.0

// Package controller is the only orchestrator: it turns the verbs of the Container Network Model into steps of drivers, address
// managers, sandboxes and the store, each with its undo beside it. One file a verb.
//
// Every verb claims the objects it touches, in the order driver, network, sandbox, endpoint; records what it is about to
// do; acts; and records the outcome. What fails is undone newest first. After a crash [New] finishes or undoes what the records
// say was under way.
package controller

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Config is what a controller is made of. All fields but Orphans and Now are needed.
type Config struct {
	Log        *slog.Logger
	Drivers    map[string]cnm.Driver
	Allocators map[string]cnm.Allocator
	Store      cnm.Store
	Stack      cnm.Stack
	Names      cnm.Names
	Together   cnm.Together
	// Orphans tells, when there are no boot-scoped records, whether the kernel carries links or namespaces of ours in use all the same;
	// what it names makes the controller read-only, for it would otherwise take running containers apart.
	Orphans func(context.Context) (string, error)
	Now     func() time.Time
}

// Controller keeps networks, endpoints and sandboxes. Its methods are safe for concurrent use; calls that touch one
// object wait for each other in the order they came, bound by their contexts.
type Controller struct {
	log        *slog.Logger
	drivers    map[string]cnm.Driver
	allocators map[string]cnm.Allocator
	store      cnm.Store
	stack      cnm.Stack
	names      cnm.Names
	together   cnm.Together
	now        func() time.Time

	table  *table
	claims *claims
	events *events
	ahead  *reserve
	owed   chan struct{} // has one token when something was left half done
	// collected counts the sandboxes that were found to have ended.
	collected atomic.Uint64
	readOnly  error // why nothing may be changed; set by New only
	building  bool  // what is missing was never there in this boot; true only inside New
}

// New takes the records that the store loaded, brings the kernel to what they say and returns a controller that is
// ready. Nothing else may use the store.
func New(ctx context.Context, cfg Config, records cnm.Records) (*Controller, error) {
	c := &Controller{
		log: cfg.Log, drivers: cfg.Drivers, allocators: cfg.Allocators, store: cfg.Store,
		stack: cfg.Stack, names: cfg.Names, together: cfg.Together, now: cfg.Now,
		table: newTable(), claims: newClaims(), events: newEvents(), ahead: newReserve(), owed: make(chan struct{}, 1),
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.table.put(records)
	// A start that found them lost leaves empty ones for the next.
	none := records.Boot.Fresh || len(records.Sandboxes)+len(records.Joins) == 0
	if none && cfg.Orphans != nil {
		what, err := cfg.Orphans(ctx)
		if err != nil {
			return nil, err
		}
		if what != "" {
			c.readOnly = cnm.Errorf(cnm.Unavailable, "the records of this boot are gone but the kernel still carries %s: nothing is changed, so that running containers keep their networks; restore the run directory and restart, or stop the containers and reboot", what)
			return c, nil
		}
	}
	c.building = records.Boot.Fresh
	defer func() { c.building = false }()
	return c, c.restore(ctx)
}

// Check is one part's state, for readiness probes.
type Check = struct {
	Name string
	Err  error
}

// Ready tells of each part whether it can serve.
func (c *Controller) Ready(context.Context) []Check {
	return []Check{{Name: "records", Err: c.readOnly}}
}

// Drivers describes all drivers by name.
func (c *Controller) Drivers(ctx context.Context) map[string]cnm.Description {
	all := make(map[string]cnm.Description, len(c.drivers))
	for name, d := range c.drivers {
		all[name] = describe(ctx, d)
	}
	return all
}

func describe(ctx context.Context, d any) cnm.Description {
	if d, ok := d.(cnm.Describer); ok {
		return d.Describe(ctx)
	}
	return cnm.Description{}
}

// driver is the driver of a network that exists.
func (c *Controller) driver(nw cnm.Network) (cnm.Driver, error) {
	d, ok := c.drivers[nw.Driver]
	if !ok {
		return nil, cnm.FieldErrorf(cnm.Unavailable, "driver", "driver %q of network %q is not there", nw.Driver, nw.Name)
	}
	return d, nil
}

func (c *Controller) allocator(name string) (cnm.Allocator, error) {
	a, ok := c.allocators[name]
	if !ok {
		return nil, cnm.FieldErrorf(cnm.NotFound, "ipam-driver", "no address manager %q; there are %s", name, strings.Join(sortedKeys(c.allocators), ", "))
	}
	return a, nil
}

// Keys of claims.
func driverKey(name string) key           { return key{'d', name} }
func networkKey(id cnm.NetworkID) key     { return key{'n', string(id)} }
func sandboxKey(id cnm.SandboxID) key     { return key{'s', string(id)} }
func endpointKey(id cnm.EndpointID) key   { return key{'e', string(id)} }
func (c *Controller) newClaimed() claimed { return claimed{from: c.claims} }

// claimAttachment claims what a verb on an endpoint touches: its driver and network shared, its sandbox (if
// any) and itself (if it exists) alone.
func (c *Controller) claimAttachment(ctx context.Context, nw cnm.NetworkID, sb cnm.SandboxID, ep cnm.EndpointID) (claimed, error) {
	h := c.newClaimed()
	if c.readOnly != nil {
		return h, c.readOnly
	}
	n, ok := c.table.network(nw)
	if !ok {
		return h, noNetwork(nw)
	}
	err := h.share(ctx, driverKey(n.Driver))
	if err == nil {
		err = h.share(ctx, networkKey(nw))
	}
	if err == nil && sb != "" {
		err = h.own(ctx, sandboxKey(sb))
	}
	if err == nil && ep != "" {
		err = h.own(ctx, endpointKey(ep))
	}
	if err != nil {
		h.release()
		return h, waiting(err)
	}
	return h, nil
}

// waiting is the error of a call that ended while it waited for another on the same object.
func waiting(err error) error {
	return cnm.Errorf(cnm.Busy, "another change of the same object is under way: %w", err)
}

func noNetwork(id cnm.NetworkID) error {
	return cnm.FieldErrorf(cnm.NotFound, "network", "no network %s", id)
}

func noSandbox(id cnm.SandboxID) error {
	return cnm.FieldErrorf(cnm.NotFound, "sandbox", "no sandbox %s", id)
}

func noEndpoint(id cnm.EndpointID) error {
	return cnm.FieldErrorf(cnm.NotFound, "endpoint", "no endpoint %s", id)
}

// newNumber draws the number of a join: 60 bits, not zero.
func newNumber() uint64 { return rand.Uint64()>>4 | 1 }
