// SPDX-License-Identifier: Apache-2.0

// Package dns gives a sandbox its names: the files hosts, resolv.conf and
// hostname, which whoever starts a process there may mount over those in /etc.
//
// What goes into a file is decided by pure functions of the records
// ([HostsFile], [ChooseResolvers] with [ResolvConf.Bytes], [HostnameFile]).
// [Names] realises [cnm.Names] with them: it keeps three files a sandbox and
// rewrites them in place, so that a file that was bind-mounted goes on following.
//
// # Which name servers
//
// The first of these that has any:
//
//  1. the sandbox's own,
//  2. those of its networks, in the order of its default routes and joins,
//  3. the host's, less those that only the host can reach: loopback, unspecified
//     and zoned addresses. Where nothing but a loopback stub is left and
//     systemd-resolved keeps the list of its upstreams, that list.
//
// If none is left, the file names none and says so in a comment: no public
// resolver is put in unasked. A sandbox whose networks are all internal gets none
// of the host's, because it can reach none, and must not. The host's own stack
// gets the host's file as it is.
package dns
