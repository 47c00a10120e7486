// SPDX-License-Identifier: Apache-2.0

// Package server is the daemon's API: HTTP over a unix socket, JSON read strictly, callers known by their process.
//
// Who may do what is data: every route carries the least [Role] it takes, and one without a role cannot be registered.
// The caller is who the kernel says it is (SO_PEERCRED, SO_PEERGROUPS), never what a request claims. A handler decodes,
// calls one method of the [Controller] and shows what it answers; it decides nothing.
package server
