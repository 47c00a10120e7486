// SPDX-License-Identifier: Apache-2.0

// Package launch starts a command in a sandbox and waits for it: in the sandbox's network namespace, with the sandbox's names
// in /etc, its own /sys and its own host name, and otherwise on the host's files.
//
// A process that has threads cannot change its namespaces as a whole, so the program executes itself once more: the child
// (see [Main]) enters the namespaces on one thread, changes its user last and becomes the command by execve, which leaves
// that thread alone. The child tells how far it came through a pipe that execve closes.
//
// The command stays in our process group, in the foreground of the terminal, so that keys (SIGINT, SIGQUIT, SIGTSTP) reach it
// from the kernel and shells see one job. Entering a namespace needs CAP_SYS_ADMIN over it.
package launch
