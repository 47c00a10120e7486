// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// ResolvConf is what a resolv.conf file says, as resolv.conf(5) has it.
type ResolvConf struct {
	Nameservers []netip.Addr
	Search      []string
	Options     []string
}

// ParseResolvConf reads a resolv.conf file as the C library does: a keyword at the
// start of a line, the last search or domain line wins, name servers and options
// add up, and what it does not understand, sortlist included, is passed over.
func ParseResolvConf(text []byte) ResolvConf {
	var r ResolvConf
	for row := range strings.Lines(string(text)) {
		row = strings.TrimRight(row, "\r\n")
		words := strings.Fields(row)
		if len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";") {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && plainZone(a) {
				r.Nameservers = append(r.Nameservers, a)
			}
		case "domain":
			r.Search = domains(words[1:2])
		case "search":
			r.Search = domains(words[1:])
		case "options":
			r.Options = append(r.Options, printable(words[1:])...)
		}
	}
	return r
}

// plainZone refuses a zone that could not be written back as one word.
func plainZone(a netip.Addr) bool {
	return a.Zone() == "" || len(strings.Fields(a.Zone())) == 1 && len(printable([]string{a.Zone()})) == 1
}

// domains keeps the words that are domain names.
func domains(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return checkHost("dns-search", w) != nil })
}

// printable keeps the words of visible ASCII.
func printable(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return strings.ContainsFunc(w, func(c rune) bool { return c <= ' ' || c > '~' })
	})
}

// Bytes renders the file.
func (r ResolvConf) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(heading)
	if len(r.Nameservers) == 0 {
		b.WriteString("# No name server: none is reachable from here, and none was given for the sandbox or its networks.\n")
	}
	for _, a := range r.Nameservers {
		b.WriteString("nameserver " + a.String() + "\n")
	}
	if len(r.Search) > 0 {
		b.WriteString("search " + strings.Join(r.Search, " ") + "\n")
	}
	if len(r.Options) > 0 {
		b.WriteString("options " + strings.Join(r.Options, " ") + "\n")
	}
	return b.Bytes()
}

// HostResolvers is what the host itself uses.
type HostResolvers struct {
	Conf ResolvConf // its resolv.conf
	// Upstream is systemd-resolved's list of what is behind its stub; zero where there is none.
	Upstream ResolvConf
}

// ChooseResolvers decides the sandbox's resolv.conf; the package comment says by
// which rules. The search list is the sandbox's own where it has one ("." alone
// stands for none), else the host's; options are the host's. The error names a
// name server or search domain that cannot be written.
func ChooseResolvers(sb cnm.Sandbox, at []cnm.Attachment, host HostResolvers) (ResolvConf, error) {
	if sb.Host && len(sb.DNS) == 0 && len(sb.DNSSearch) == 0 {
		return host.Conf, nil
	}
	r := ResolvConf{Search: host.Conf.Search, Options: host.Conf.Options}
	if len(sb.DNSSearch) > 0 {
		r.Search = slices.DeleteFunc(slices.Clone(sb.DNSSearch), func(d string) bool { return d == "." })
	}
	for _, d := range r.Search {
		if err := checkHost("dns-search", d); err != nil {
			return ResolvConf{}, err
		}
	}
	r.Nameservers = unique(given(sb, at))
	for _, a := range r.Nameservers {
		if !a.IsValid() || !plainZone(a) {
			return ResolvConf{}, cnm.FieldErrorf(cnm.Invalid, "dns", "dns %q is no address of a name server", a.String())
		}
	}
	switch {
	case len(r.Nameservers) > 0:
	case sb.Host:
		r.Nameservers = host.Conf.Nameservers
	case !internalOnly(at):
		r.Nameservers = fromOutside(host)
	}
	return r, nil
}

// given are the name servers that the sandbox or its networks were given.
func given(sb cnm.Sandbox, at []cnm.Attachment) []netip.Addr {
	if len(sb.DNS) > 0 {
		return sb.DNS
	}
	var all []netip.Addr
	for _, a := range inOrder(at) {
		all = append(all, a.Network.DNS...)
	}
	return all
}

// internalOnly tells whether a sandbox is on internal networks and no other.
func internalOnly(at []cnm.Attachment) bool {
	return len(at) > 0 && !slices.ContainsFunc(at, func(a cnm.Attachment) bool { return !a.Network.Internal })
}

// fromOutside are the host's name servers that another stack can reach.
func fromOutside(host HostResolvers) []netip.Addr {
	all := reachable(host.Conf.Nameservers)
	if len(all) == 0 && slices.ContainsFunc(host.Conf.Nameservers, isStub) {
		return reachable(host.Upstream.Nameservers)
	}
	return all
}

// isStub tells whether systemd-resolved answers at a: its two addresses are fixed.
func isStub(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{127, 0, 0, 53}) || a == netip.AddrFrom4([4]byte{127, 0, 0, 54})
}

// reachable leaves out the addresses that mean something else in another stack.
// IPv4's link-local ones stay: clouds serve names there, and they are routed.
func reachable(all []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		plain := a.Unmap()
		if !plain.IsLoopback() && !plain.IsUnspecified() && !(plain.Is6() && plain.IsLinkLocalUnicast()) {
			out = append(out, a)
		}
	}
	return unique(out)
}

// unique keeps the first of equal addresses. The argument is left as it is.
func unique(all []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
