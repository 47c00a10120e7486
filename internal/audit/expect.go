// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// Facts that a look at the kernel needs, by the documents of the rooms.
const (
	ownTable     uint32 = 1 << 31 // with the interface's index: the table of an endpoint in its sandbox
	ownProtocol  uint8  = 67      // of our routes and rules in sandboxes, and neighbours on the host
	rulePriority uint32 = 20000   // of our rules there
	deadPrefix          = "cnx"   // a link in a sandbox that waits to be deleted
	most                = 1296    // shards of a network
)

// options are those of a bridge network that can be seen in the kernel.
type options struct {
	bridge     string
	adopted    bool
	routed     bool
	masquerade bool
	hostAccess bool
	snat       []netip.Addr
	trusted    []string
}

func optionsOf(nw cnm.Network) options {
	o := options{
		bridge: hubPrefix + string(nw.ID)[:12], routed: nw.Options["gateway-mode"] == "routed",
		masquerade: isOn(nw.Options, "masquerade", true), hostAccess: isOn(nw.Options, "host-access", true),
	}
	if name := nw.Options["bridge"]; name != "" {
		o.bridge = name
	}
	if name := nw.Options["adopt"]; name != "" {
		o.bridge, o.adopted = name, true
	}
	for _, text := range list(nw.Options["snat"]) {
		if a, err := netip.ParseAddr(text); err == nil {
			o.snat = append(o.snat, a)
		}
	}
	o.trusted = list(nw.Options["trusted-interfaces"])
	return o
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// isOn reads a switch of the first map that has it.
func isOn(in map[string]string, key string, otherwise bool) bool {
	if on, err := strconv.ParseBool(in[key]); err == nil {
		return on
	}
	return otherwise
}

// guard is what an endpoint may send beyond its own.
type guard struct{ anySource, router, dhcp bool }

func guardOf(nw cnm.Network, ep cnm.Endpoint) guard {
	return guard{
		anySource: !isOn(ep.Options, "spoof-check", isOn(nw.Options, "spoof-check", true)),
		router:    isOn(ep.Options, "allow-ra", isOn(nw.Options, "allow-ra", false)),
		dhcp:      isOn(ep.Options, "allow-dhcp-server", isOn(nw.Options, "allow-dhcp-server", false)),
	}
}

// shardNames are those of shard i of a network: its bridge, and the trunk's end at the hub and at the shard.
func shardNames(id cnm.NetworkID, i int) (bridge, atHub, atShard string) {
	sum := sha256.Sum256([]byte("shard\x00" + string(id)))
	suffix := digits(binary.BigEndian.Uint64(sum[:8]), 9) + digits(uint64(i), 2)
	return shardPrefix + suffix, trunkPrefix + suffix + "h", trunkPrefix + suffix + "s"
}

// digits are the last ones of n, base 36.
func digits(n uint64, width int) string {
	s := strings.Repeat("0", width) + strconv.FormatUint(n, 36)
	return s[len(s)-width:]
}

// linkLocal is the address that RFC 4291, appendix A, makes of a MAC address.
func linkLocal(m cnm.MAC) netip.Addr {
	a := netip.MustParseAddr("fe80::").As16()
	copy(a[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(a)
}

// stands tells whether an attachment is to be in the kernel.
func stands(j cnm.Join, ep cnm.Endpoint) bool {
	return j.State == cnm.Joined && (ep.State == cnm.Joined || ep.State == cnm.Updating)
}

// attachments are the joins that stand, each with the records around it.
func attachments(r cnm.Records) (all []cnm.Attachment, findings []string) {
	networks := map[cnm.NetworkID]cnm.Network{}
	for _, nw := range r.Networks {
		networks[nw.ID] = nw
	}
	endpoints := map[cnm.EndpointID]cnm.Endpoint{}
	for _, ep := range r.Endpoints {
		endpoints[ep.ID] = ep
		if _, ok := networks[ep.Network]; !ok {
			findings = append(findings, "record of endpoint "+ep.Name+": its network "+string(ep.Network)+" is not recorded")
		}
	}
	sandboxes := map[cnm.SandboxID]cnm.Sandbox{}
	for _, sb := range r.Sandboxes {
		sandboxes[sb.ID] = sb
	}
	onNetwork := map[[2]string]string{}
	for _, j := range r.Joins {
		ep, okE := endpoints[j.Endpoint]
		sb, okS := sandboxes[j.Sandbox]
		if !okE || !okS || ep.Network != j.Network {
			findings = append(findings, "record of the join of endpoint "+string(j.Endpoint)+": it names what is not recorded")
			continue
		}
		pair := [2]string{string(j.Sandbox), string(j.Network)}
		if other := onNetwork[pair]; other != "" {
			findings = append(findings, "records: sandbox "+sb.Name+" is twice on one network, by "+other+" and "+ep.Name)
		}
		onNetwork[pair] = ep.Name
		if stands(j, ep) {
			all = append(all, cnm.Attachment{Network: networks[j.Network], Endpoint: ep, Sandbox: sb, Join: j})
		}
	}
	return all, findings
}
