// SPDX-License-Identifier: Apache-2.0

// Package nft speaks nf_tables to the kernel.
//
// It has three parts.
//
// What is wanted is a plain value. [Table], [Set], [Chain] and [Rule] describe
// objects, [Element] the content of a set, and [Layout] a whole table; a rule is
// written in a small vocabulary ([Field], [Concat], verdicts, translation) which
// gives both the expressions the kernel runs and the text that nft prints for
// them, so that the text can be compared in tests.
//
// A change is a [Tx]: verbs append operations, the first invalid one sticks, and
// nothing reaches the kernel before [Conn.Run], which sends everything as one
// batch in one message. The kernel takes all of it or nothing. A refusal is an
// [*Error] that names the operation and, for elements, the element.
//
// What is there is read by [Conn.Snapshot] and compared by [Compare]; [Watch]
// reports what others change.
//
// A [Conn] is one netlink socket. A table with [Owner] belongs to the socket that
// made it: no other socket may change it, so that one Conn is its one writer.
// With [Persist] (Linux 6.9) it outlives that socket and is adopted by the next
// [Tx.AddTable] with the same flags.
package nft
