// SPDX-License-Identifier: Apache-2.0

// Package pool is the default address manager: it chooses subnets that stay out of the host's way and gives out their
// addresses from an index in memory.
//
// A subnet is either given or chosen from [Config.Defaults]; a chosen one overlaps no route and no resolver of the host and
// no other pool. Addresses go round: the next one is looked for after the last one given, so that a freed address comes
// again late, and never before its quarantine is over.
//
// The package does no input or output. What the host uses and when a freed address is clear is told by [Config.Host]
// and [Config.Quarantine]. Nothing is kept on disk: at a start the records are replayed, see [cnm.Allocator].
package pool
