// SPDX-License-Identifier: Apache-2.0

// Command demo shows what cnm does, as a table of checks that can fail.
//
// It starts itself again in new user, network, mount and process namespaces: that is the "host", and nothing outside of it is
// touched. A second network namespace, joined by a veth pair, is the LAN neighbour. On the host it starts the daemon of the
// cnm binary it is given, with directories on a tmpfs that nobody else sees, and talks to it by cnm's command line alone.
//
// Servers, probes and the flush of all nftables rules are its own, so that it needs no other program.
//
//	demo -cnm bin/cnm                     every row
//	demo -cnm bin/cnm -row flush          one row, with just what it needs
//	demo -cnm bin/cnm -break flush        one row with its mechanism switched off: it must fail
//	demo -list                            the rows, and what -break does to each
package main
