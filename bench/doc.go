// SPDX-License-Identifier: Apache-2.0

// Command bench measures what the project claims of its speed, against a floor: the same kernel objects made by hand with
// the fewest round trips known (floor.go).
//
// It starts itself again in new user, network, mount and process namespaces, so that it needs no root and touches nothing of the
// machine. There the product runs in process, the floor works in a namespace of its own, and a daemon process in a third;
// their samples alternate, so that whatever else the machine does falls on all of them alike.
package main
