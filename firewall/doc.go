// SPDX-License-Identifier: Apache-2.0

// Package firewall is the one writer of the tables `inet cnm` and `bridge cnm`: a small constant ruleset, written
// once, in which everything variable is an element of a set or a map.
//
// What is wanted is a plain value, [Rules], of an [Owner]; [Firewall.Set] makes it so and [Firewall.Drop] takes it away.
// The firewall keeps a mirror of all elements with their owners and sends only what differs, in one transaction
// a change, or one for all changes inside [Firewall.Together]. The first transaction sends what differs from what an earlier
// run left, or replaces both tables where their rules are of another version; until then they are in force, unchanged. No
// packet ever meets a half of a change.
//
// A flow ends with the element that allowed it: verdicts on elements come before any verdict on established
// connections, so that nothing has to be deleted from connection tracking.
//
// Where the kernel has owned tables that persist (Linux 6.9) nobody else can change ours. Elsewhere, and where
// [Config.Shared] asks for it, [Firewall.Run] watches and puts back at once what others change.
//
// The README has the packet path and a table of the rules.
package firewall
