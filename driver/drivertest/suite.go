// SPDX-License-Identifier: Apache-2.0

// Package drivertest is the conformance suite of drivers: the axioms of the Container Network Model as packets. Every driver
// passes it, whatever its networks are made of; what a driver says of itself ([cnm.Description]) decides which axioms apply.
//
// The suite is the controller's stand-in: it makes records, calls the verbs in the order of the contract, and gives a
// sandbox's half to a link by itself. Each test has a host of its own, and ends by comparing it with what it was.
package drivertest

import (
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// Factory makes what is tested.
type Factory struct {
	// Driver makes a driver whose host is the network namespace of the calling process. What it needs it makes itself, and
	// ends with the test. It is called again, while the first one lives no more, where a restart is tested.
	Driver func(t *testing.T) Instance
	// Options are given to every network.
	Options map[string]string
}

// Instance is one driver, as it would be in a daemon.
type Instance struct {
	cnm.Driver
	// Close ends it as the death of the daemon would: it changes nothing in the kernel.
	Close func() error
}

// axiom is one test.
type axiom struct {
	name string
	why  string
	// applies tells whether it says something of such a driver; nil: of every driver.
	applies func(cnm.Description) bool
	check   func(w *world)
}

func hasAddresses(d cnm.Description) bool { return d.Addresses }
func hasNone(d cnm.Description) bool      { return !d.Addresses }
func publishes(d cnm.Description) bool    { return d.Publishes }

// axioms are all of them.
func axioms() []axiom {
	return []axiom{
		{"Describe", "what a driver says of itself agrees with what it can do", nil, describes},
		{"Reach", "endpoints of one network reach each other", hasAddresses, reach},
		{"Apart", "networks never cross", hasAddresses, apart},
		{"SeveralNetworks", "a sandbox answers on each of its networks, and goes on when it leaves one", hasAddresses, severalNetworks},
		{"OneSandbox", "an endpoint is in one sandbox, and may go to another", hasAddresses, oneSandbox},
		{"Again", "a verb done again changes nothing", nil, again},
		{"Absent", "ending what is not there succeeds and changes nothing", nil, absent},
		{"NamespaceGone", "an endpoint leaves a sandbox that is gone", hasAddresses, namespaceGone},
		{"Publish", "a published port leads to its endpoint, until it is withdrawn", publishes, publish},
		{"Restart", "another driver goes on where one ended", hasAddresses, restart},
		{"Unknown", "an option that nobody knows is refused by its name", nil, unknownOption},
		{"NoLink", "a network without addresses makes no link", hasNone, noLink},
	}
}

// Run runs the suite. It is the only statement of its test beside t.Parallel.
func Run(t *testing.T, f Factory) {
	t.Helper()
	for _, a := range axioms() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				w := newWorld(t, f)
				if a.applies == nil || a.applies(w.description) {
					a.check(w)
					w.end()
				}
				if t.Failed() {
					t.Logf("the axiom is: %s", a.why)
				}
			})
		})
	}
}
