// SPDX-License-Identifier: Apache-2.0

// Package probe asks, from one network namespace, whether something in another
// answers, and streams what must not be lost meanwhile. It needs no other
// program: echoes, connections, datagrams and pages are its own, and so are
// servers that answer them, a relay, and the flush of all nftables rules.
package probe
