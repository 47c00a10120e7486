// SPDX-License-Identifier: Apache-2.0

// Package engine runs real container engines, and the daemon that they are
// tried with, in a place of the test's own.
package engine
