// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// heading is the first line of every file that is written.
const heading = "# Written by cnm and kept up to date by it: changes made here are lost.\n"

// localHosts are the lines that every stack has.
const localHosts = "127.0.0.1\tlocalhost\n" +
	"::1\tlocalhost ip6-localhost ip6-loopback\n" +
	"fe00::\tip6-localnet\n" +
	"ff00::\tip6-mcastprefix\n" +
	"ff02::1\tip6-allnodes\n" +
	"ff02::2\tip6-allrouters\n"

// Hostname is the sandbox's host name: its own or, where it has none, its name.
func Hostname(sb cnm.Sandbox) string { return cmp.Or(sb.Hostname, sb.Name) }

// HostnameFile is the sandbox's hostname file. The error names what is no host name.
func HostnameFile(sb cnm.Sandbox) ([]byte, error) {
	name := Hostname(sb)
	if err := checkHost("hostname", name); err != nil {
		return nil, err
	}
	return []byte(name + "\n"), nil
}

// HostsFile is the sandbox's hosts file: the loopback lines, each of its own
// addresses with its host name, its name, and the endpoint's name and aliases, and
// then the entries it was given. Attachments come in the order of [inOrder], so
// that a look-up of the host name gives the address of the default route first.
// The error names the first name or address that cannot stand in a hosts file.
func HostsFile(sb cnm.Sandbox, at []cnm.Attachment) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(heading)
	b.WriteString(localHosts)
	if !sb.Host {
		for _, a := range inOrder(at) {
			if err := ownLines(&b, sb, a.Endpoint); err != nil {
				return nil, err
			}
		}
	}
	for _, e := range sb.ExtraHosts {
		if err := hostLine(&b, "add-host", e.Address, []string{e.Name}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// ownLines writes a line for each address of an endpoint.
func ownLines(b *bytes.Buffer, sb cnm.Sandbox, ep cnm.Endpoint) error {
	names := ownNames(sb, ep)
	for _, p := range ep.Addresses {
		if err := hostLine(b, "hostname", p.Addr(), names); err != nil {
			return err
		}
	}
	return nil
}

// ownNames are the names of a sandbox at one of its endpoints, the canonical one
// first, none twice.
func ownNames(sb cnm.Sandbox, ep cnm.Endpoint) []string {
	host := Hostname(sb)
	short, _, _ := strings.Cut(host, ".")
	all := append([]string{host, short, sb.Name, ep.Name}, ep.Aliases...)
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(name string) bool {
		folded := cnm.FoldName(name)
		drop := name == "" || seen[folded]
		seen[folded] = true
		return drop
	})
}

// hostLine writes one line; field is the input that the names come from.
func hostLine(b *bytes.Buffer, field string, a netip.Addr, names []string) error {
	if !a.IsValid() || a.Zone() != "" {
		return cnm.FieldErrorf(cnm.Invalid, field, "%s: %q is no plain IPv4 or IPv6 address for host %q",
			field, a.String(), strings.Join(names, " "))
	}
	for _, name := range names {
		if err := checkHost(field, name); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	b.WriteString(a.Unmap().String())
	b.WriteByte('\t')
	b.WriteString(strings.Join(names, " "))
	b.WriteByte('\n')
	return nil
}

// hostMax is the longest host name in text (RFC 1035, 2.3.4).
const hostMax = 253

// checkHost accepts what can stand in a hosts file and in a search list: letters,
// digits, '-', '_' and dots. It is the guard against a second line in a name, not
// a test of the DNS's own rules.
func checkHost(field, name string) error {
	bad := name == "" || len(name) > hostMax
	for i := 0; i < len(name) && !bad; i++ {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		bad = !letter && c != '-' && c != '_' && c != '.'
	}
	if bad {
		const most = 80
		return cnm.FieldErrorf(cnm.Invalid, field,
			"%s %.*q is no host name; use up to %d letters, digits, '-', '_' and dots", field, most, name, hostMax)
	}
	return nil
}

// inOrder sorts a sandbox's attachments: those that hold a default route first,
// then the longest joined, then by endpoint. The argument is left as it is.
func inOrder(at []cnm.Attachment) []cnm.Attachment {
	return slices.SortedFunc(slices.Values(at), func(a, b cnm.Attachment) int {
		return cmp.Or(
			cmp.Compare(defaults(b.Join.Default), defaults(a.Join.Default)),
			a.Join.Joined.Compare(b.Join.Joined),
			cmp.Compare(a.Endpoint.ID, b.Endpoint.ID),
		)
	})
}

// defaults weighs the families whose default route an endpoint holds; IPv4's
// counts for more where the two differ, as look-ups are tried in that order.
func defaults(s cnm.FamilySet) int {
	n := 0
	if s.IPv4 {
		n += 2
	}
	if s.IPv6 {
		n++
	}
	return n
}
