// SPDX-License-Identifier: Apache-2.0

// Package audit looks at the kernel without the help of those who change it, and says what is not as it should be.
//
// [Take] makes a [Picture] of everything on the host that a network or a sandbox could leave behind, as lines of text:
// two states are the same when their pictures are equal. [WaitQuiet] waits, woken by the kernel's own announcements, until
// what is on its way out is gone. [Check] compares records with the kernel and names what is missing, altered, or carries our
// mark without a record. What it expects is worked out here once more from the records, and shares no code with the rooms
// that made it so.
//
// The host is the network namespace that the process was started in. The package changes nothing.
package audit

// Scope says where to look.
type Scope struct {
	// RunDir is the daemon's run directory, which has the pins in its folder netns; "" for none.
	RunDir string
	// PID is the process that holds the published ports: 0 is this one, a negative number none, which is right while the
	// daemon is dead.
	PID int
	// Alone says that the process has no other sockets that wait on a port of the host.
	Alone bool
}
