// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"net/netip"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// Keys of options. The table in optionTable says what they mean; it both decodes and describes them.
const (
	keyBridge       = "bridge"
	keyAdopt        = "adopt"
	keyGatewayMode  = "gateway-mode"
	keyMasquerade   = "masquerade"
	keySNAT         = "snat"
	keyPublish      = "publish-address"
	keySpoofCheck   = "spoof-check"
	keyAllowRA      = "allow-ra"
	keyAllowDHCP    = "allow-dhcp-server"
	keyTrusted      = "trusted-interfaces"
	keyAllowOverlap = "allow-overlap"
	keyHostAccess   = "host-access"
)

// settings are a network's options, decoded.
type settings struct {
	bridge       string // device name; "" derives one from the network's ID
	adopt        bool   // bridge exists and is never deleted
	routed       bool
	masquerade   bool
	snat4, snat6 netip.Addr
	publish      []netip.Addr
	trusted      []string
	hostAccess   bool
	protection   protection
}

// protection is what may come in by a port; an endpoint may opt out further than its network.
type protection struct {
	spoofCheck bool
	allowRA    bool
	allowDHCP  bool
}

// optionTable is every option there is, for networks and for endpoints.
func optionTable() []cnm.Option {
	const nw, ep = "network", "endpoint"
	return []cnm.Option{
		{Key: keyBridge, On: nw, Type: "name", Default: "derived from the network's ID", Meaning: "name of the bridge to make"},
		{Key: keyAdopt, On: nw, Type: "name", Meaning: "use this existing bridge; its addresses stay as they are and it is never deleted"},
		{Key: keyGatewayMode, On: nw, Type: "nat|routed", Default: "nat", Meaning: "routed: addresses are not translated, published ports are opened on the endpoints' own addresses"},
		{Key: keyMasquerade, On: nw, Type: "bool", Default: "true", Meaning: "what leaves the host takes the address of the link it leaves by"},
		{Key: keySNAT, On: nw, Type: "addresses", Meaning: "what leaves the host takes these addresses, at most one a family"},
		{Key: keyPublish, On: nw, Type: "addresses", Default: "0.0.0.0,::", Meaning: "host addresses of ports published without one"},
		{Key: keyTrusted, On: nw, Type: "names", Meaning: "host links from which the endpoints' own addresses may be reached"},
		{Key: keyAllowOverlap, On: nw, Type: "bool", Default: "false", Meaning: "the subnets may overlap the host's routes and other networks"},
		{Key: keyHostAccess, On: nw, Type: "bool", Default: "true", Meaning: "endpoints may reach the host's own services"},
		{Key: keySpoofCheck, On: nw, Type: "bool", Default: "true", Meaning: "drop frames whose MAC or address is not the endpoint's"},
		{Key: keyAllowRA, On: nw, Type: "bool", Default: "false", Meaning: "let endpoints send router advertisements"},
		{Key: keyAllowDHCP, On: nw, Type: "bool", Default: "false", Meaning: "let endpoints answer as DHCP servers"},
		{Key: keySpoofCheck, On: ep, Type: "bool", Default: "the network's", Meaning: "as for the network, for this endpoint"},
		{Key: keyAllowRA, On: ep, Type: "bool", Default: "the network's", Meaning: "as for the network, for this endpoint"},
		{Key: keyAllowDHCP, On: ep, Type: "bool", Default: "the network's", Meaning: "as for the network, for this endpoint"},
	}
}

// checkKeys refuses a key that the table does not have for this noun.
func checkKeys(options map[string]string, on string) error {
	for k := range options {
		known := false
		var keys []string
		for _, o := range optionTable() {
			if o.On == on {
				keys = append(keys, o.Key)
				known = known || o.Key == k
			}
		}
		if !known {
			return cnm.FieldErrorf(cnm.Invalid, "opt", "option %q is unknown for a bridge %s; there are %s", k, on, strings.Join(keys, ", "))
		}
	}
	return nil
}

// decodeNetwork reads a network's options.
func decodeNetwork(nw cnm.Network) (settings, error) {
	if err := checkKeys(nw.Options, "network"); err != nil {
		return settings{}, err
	}
	d := decoder{options: nw.Options}
	s := settings{
		bridge:     d.link(keyBridge),
		masquerade: d.boolean(keyMasquerade, true),
		publish:    d.published(keyPublish),
		trusted:    d.links(keyTrusted),
		hostAccess: d.boolean(keyHostAccess, true),
		routed:     d.choice(keyGatewayMode, "nat", "routed") == "routed",
		protection: d.protection(protection{spoofCheck: true}),
	}
	d.boolean(keyAllowOverlap, false)
	s.snat4, s.snat6 = d.sources(keySNAT)
	if a := d.link(keyAdopt); a != "" {
		if s.bridge != "" {
			d.fail(keyAdopt, "names an existing bridge and option bridge a new one; give one of them")
		}
		s.bridge, s.adopt = a, true
	}
	if nw.Internal {
		d.internal(&s)
	}
	return s, d.err
}

// internal checks an internal network's options and sets what follows from it: it publishes to loopback only.
func (d *decoder) internal(s *settings) {
	if s.routed {
		d.fail(keyGatewayMode, "routed makes no sense on an internal network, which reaches nothing but itself")
	}
	if len(s.trusted) > 0 {
		d.fail(keyTrusted, "makes no sense on an internal network, which reaches nothing but itself")
	}
	for _, a := range s.publish {
		if !a.IsLoopback() {
			d.fail(keyPublish, a.String()+" is not a loopback address, and an internal network publishes to loopback only")
		}
	}
	if len(s.publish) == 0 {
		s.publish = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
}

// publishAddresses are the host addresses of ports published without one.
func (s settings) publishAddresses() []netip.Addr {
	if len(s.publish) > 0 {
		return s.publish
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// decodeEndpoint reads an endpoint's options over its network's.
func decodeEndpoint(network protection, ep cnm.Endpoint) (protection, error) {
	if err := checkKeys(ep.Options, "endpoint"); err != nil {
		return protection{}, err
	}
	d := decoder{options: ep.Options}
	p := d.protection(network)
	return p, d.err
}

// decoder reads typed options; the first that cannot be read sticks.
type decoder struct {
	options map[string]string
	err     error
}

func (d *decoder) fail(key, why string) {
	if d.err == nil {
		d.err = cnm.FieldErrorf(cnm.Invalid, "opt", "option %s %s", key, why)
	}
}

func (d *decoder) boolean(key string, def bool) bool {
	text, ok := d.options[key]
	if !ok {
		return def
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		d.fail(key, strconv.Quote(text)+" is not true or false")
	}
	return b
}

func (d *decoder) choice(key string, choices ...string) string {
	text, ok := d.options[key]
	if !ok {
		return choices[0]
	}
	for _, c := range choices {
		if text == c {
			return c
		}
	}
	d.fail(key, strconv.Quote(text)+" is not one of "+strings.Join(choices, ", "))
	return choices[0]
}

func (d *decoder) list(key string) []string {
	text, ok := d.options[key]
	if !ok {
		return nil
	}
	return strings.Split(text, ",")
}

func (d *decoder) addresses(key string) []netip.Addr {
	var all []netip.Addr
	for _, text := range d.list(key) {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			d.fail(key, strconv.Quote(text)+" is no plain address; write it as 192.0.2.1 or 2001:db8::1")
			return nil
		}
		all = append(all, a)
	}
	return all
}

// published reads addresses to publish on. The unspecified ones are all that the host has.
func (d *decoder) published(key string) []netip.Addr {
	all := d.addresses(key)
	for _, a := range all {
		if what := groupOf(a); what != "" {
			d.fail(key, a.String()+" is "+what+"; give an address of the host, or 0.0.0.0 or :: for all of them")
		}
	}
	return all
}

// groupOf says what an address is that no single host has; "" for others.
func groupOf(a netip.Addr) string {
	switch {
	case a.IsMulticast():
		return "a multicast address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	}
	return ""
}

// sources reads the addresses that packets are to come from, at most one of each family.
func (d *decoder) sources(key string) (v4, v6 netip.Addr) {
	for _, a := range d.addresses(key) {
		what := groupOf(a)
		switch {
		case a.IsUnspecified():
			what = "no address but stands for any"
		case a.IsLoopback():
			what = "a loopback address"
		}
		if what != "" {
			d.fail(key, a.String()+" is "+what+"; give an address of the host that others can answer to")
		}
		at := &v4
		if a.Is6() {
			at = &v6
		}
		if at.IsValid() {
			d.fail(key, "has two addresses of one family; leave one out")
		}
		*at = a
	}
	return v4, v6
}

func (d *decoder) links(key string) []string {
	names := d.list(key)
	for _, n := range names {
		d.checkLink(key, n)
	}
	return names
}

func (d *decoder) link(key string) string {
	name, ok := d.options[key]
	if ok {
		d.checkLink(key, name)
	}
	return name
}

func (d *decoder) checkLink(key, name string) {
	bad := name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/:%")
	for i := range len(name) {
		bad = bad || name[i] <= ' ' || name[i] >= 0x7f
	}
	if bad {
		d.fail(key, strconv.Quote(name)+" cannot be the name of a link; use up to 15 letters and digits")
	}
	for _, prefix := range []string{portPrefix, waitPrefix, shardPrefix, trunkPrefix} {
		if strings.HasPrefix(name, prefix) {
			d.fail(key, strconv.Quote(name)+" begins like the links this driver makes; choose another")
		}
	}
}

func (d *decoder) protection(def protection) protection {
	return protection{
		spoofCheck: d.boolean(keySpoofCheck, def.spoofCheck),
		allowRA:    d.boolean(keyAllowRA, def.allowRA),
		allowDHCP:  d.boolean(keyAllowDHCP, def.allowDHCP),
	}
}
