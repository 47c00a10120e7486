// SPDX-License-Identifier: Apache-2.0

// Package stage is what tests of the whole product share: a host with a neighbour on its LAN, a daemon on it, either in the
// test's own process or in one that can be killed, and the means to ask who reaches whom.
//
// The host is the network namespace that kerneltest.Run gave the test. Nothing here waits by the clock for something to
// happen; only silence is told by it.
package stage
