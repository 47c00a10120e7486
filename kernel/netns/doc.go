// SPDX-License-Identifier: Apache-2.0

// Package netns opens, makes, pins, enters and watches Linux network
// namespaces.
//
// A namespace is identified by its [Cookie], never by its path or inode: both
// are reused by the kernel while a cookie is not, for as long as the machine is
// up. An [NS] is an open descriptor and keeps its namespace alive until Close.
//
// Go moves goroutines between threads while a namespace belongs to a thread.
// Everything here that enters a namespace therefore does so on a locked thread
// that is not the process's main one, so that /proc/PID/ns/net of this process
// never names a foreign namespace, and puts the thread back before it is used
// for anything else. A thread that cannot be put back is destroyed.
//
// The package needs Linux 5.15 and, to make or enter namespaces, CAP_SYS_ADMIN
// in the user namespace that owns them.
package netns
