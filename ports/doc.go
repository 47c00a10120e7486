// SPDX-License-Identifier: Apache-2.0

// Package ports says who holds which host port.
//
// A published port is held by a bound socket from the promise to the release,
// so that neither another endpoint nor a process of the host can have it. The
// kernel is what decides; the table here is for names, for SCTP where the kernel
// has no such sockets, and for what is kept in quarantine. One dual-stack socket
// holds a port on all IPv4 and all IPv6 addresses. There is no process, no
// goroutine and no rule per port.
//
// What the firewall translates never reaches these sockets. What it cannot
// translate does, above all connections to ::1: one loop over all sockets accepts
// those and splices them to the endpoint. Anything that did not come over
// loopback is refused.
package ports
