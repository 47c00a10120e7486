// SPDX-License-Identifier: Apache-2.0

// Package conntrack reads and deletes entries of the kernel's connection table
// through ctnetlink, and sweeps it: a [Sweeper] collects addresses and ports
// that were freed and deletes, in few passes, the entries that still name them.
//
// The whole hash table is walked for every listing, whatever it holds and
// however the kernel is asked to filter: about 9 ms for 262,144 buckets with no
// entry in them. Nothing here is therefore meant to be called for one address,
// and an empty table, which the kernel tells by a counter, is not walked.
package conntrack
