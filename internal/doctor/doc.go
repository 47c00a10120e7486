// SPDX-License-Identifier: Apache-2.0

// Package doctor looks whether a host is fit for our networks, and says what to do where it is not. It changes nothing on the host:
// what must be tried is tried in a network namespace of its own.
package doctor
