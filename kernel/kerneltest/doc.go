// SPDX-License-Identifier: Apache-2.0

// Package kerneltest runs tests against the real kernel without privilege and
// without touching the machine they run on.
//
// [Run] executes the test binary once more, for one test, in new user, network
// and mount namespaces. All threads of that process are born there. When the
// test ends, what it left behind, in the process or in the namespaces, fails it.
package kerneltest
