// SPDX-License-Identifier: Apache-2.0

// Package link speaks rtnetlink: links, addresses, routes, rules, neighbours,
// forwarding entries and namespace ids, written in batches.
//
// A [Batch] is a plain value: methods append messages to it, nothing is sent,
// and it prints one readable line a message, so that a plan can be compared
// with a golden file. A [Conn] is one netlink socket that lives in one network
// namespace; [Conn.Do] writes a whole batch with one system call and asks for
// one acknowledgement, that of the last message. Only refused messages answer
// besides it, and each answer is mapped back by its sequence number to the
// message it belongs to, as an [*Error].
//
// A batch is not a transaction. The kernel runs its messages in order and goes
// on after one that it refused: what came before stays done, and what comes
// after is tried. Callers undo by what they know, or make their messages
// repeatable.
//
// Reading (Links, Addresses, Routes, Rules, Neighbours, FDB) is for start and
// for audits. A dump that the kernel marks as interrupted is read again, a few
// times at most: where the table never holds still, the answer has whatever stood
// all the while, and may have what came or went. What acts on it finds gone what
// is gone, and [Watch] tells of it; no reader starves under changes.
//
// [Watch] follows changes as the kernel announces them, on request from every
// namespace that has an id in the watching one.
//
// The package needs Linux 5.15 and CAP_NET_ADMIN in the user namespace that owns
// the network namespace. It never enters a namespace itself: a socket is made
// there once and stays there.
package link
