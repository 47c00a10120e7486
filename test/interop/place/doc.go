// SPDX-License-Identifier: Apache-2.0

// Package place makes machines out of namespaces, in which real container
// engines run as they would on a host of their own.
//
// A [Place] has its own network, mounts, processes, control groups and host
// name, and a neighbour on its LAN. What is started in it never sees the
// machine's own network. Its first process carries out what the test orders
// over a socket; when that process ends, the kernel ends every other one, and
// with them goes all else.
package place
