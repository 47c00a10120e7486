// SPDX-License-Identifier: Apache-2.0

// Package kerneltest runs tests against the real kernel without privilege and
// without touching the machine they run on.
//
// [Run] executes the test binary once more, for one test, in new user, network
// and mount namespaces. All threads of that process are born there. When the
// test ends, what it left behind (goroutines, descriptors, threads in other
// namespaces, mounts) fails it.
package kerneltest
