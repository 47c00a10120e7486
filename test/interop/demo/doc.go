// SPDX-License-Identifier: Apache-2.0

// Command demo shows a Docker container, a runc container and a process on one
// network of cnm's, as a table of checks that can fail.
//
// It makes a place, which is a machine made of namespaces with a neighbour on
// its LAN; see test/interop. There it starts the daemon of the cnm binary that
// CNM_INTEROP_CNM names and an unmodified Docker, from the folder that
// CNM_INTEROP_ENGINES names. It needs root, and leaves nothing behind.
package main
