// SPDX-License-Identifier: Apache-2.0

package firewall

import "github.com/libnetwork/cnm/kernel/nft"

// setID numbers the sets of both tables. A set for IPv6 follows its IPv4 twin.
type setID uint8

// The sets of inet cnm.
const (
	setNets setID = iota
	setIfs
	setAdopted
	setInternal
	setClosed
	setLoop
	setPair
	setOpened4
	setOpened6
	setCnet4
	setCnet6
	setLAN4
	setLAN6
	setHome4
	setHome6
	setEnd4
	setEnd6
	setIso4
	setIso6
	setTrust4
	setTrust6
	setOpen4
	setOpen6
	setMasq4
	setMasq6
	setSnat4
	setSnat6
	setLo4
	setPub4
	setPub6
	setPubAny4
	setPubAny6
	setLive4
	setLive6
	setLiveAny4
	setLiveAny6
	firstFrameSet
)

// The sets of bridge cnm.
const (
	setPorts setID = iota + firstFrameSet
	setTrunks
	setMACs
	setBound4
	setBound6
	setAnySource
	setRouters
	setDHCP
	setLANPorts
	setIsoPorts
	setIsoMACs
	setSelf
	setCount
)

// of gives the set of the family: the receiver is that of IPv4.
func (s setID) of(six bool) setID {
	if six {
		return s + 1
	}
	return s
}

// routesTable is the table of packets.
func routesTable() nft.TableID { return nft.TableID{Family: nft.Inet, Name: "cnm"} }

// framesTable is the table of frames on bridges.
func framesTable() nft.TableID { return nft.TableID{Family: nft.Bridge, Name: "cnm"} }

// newSets makes the sets, empty, by their numbers.
func newSets() [setCount]*nft.Set {
	const name, v4, v6, ether, proto, port = nft.TypeIfname, nft.TypeIPv4, nft.TypeIPv6, nft.TypeEther, nft.TypeProto, nft.TypePort
	key := func(types ...nft.Type) nft.Set { return nft.Set{Key: types} }
	spans := func(types ...nft.Type) nft.Set { return nft.Set{Key: types, Interval: true} }
	to := func(s nft.Set, types ...nft.Type) nft.Set { s.Data = types; return s }
	sets := [setCount]nft.Set{
		setNets: key(name), setIfs: key(name), setAdopted: key(name), setInternal: key(name), setClosed: key(name),
		setLoop: key(name), setOpened4: key(name), setOpened6: key(name),
		setPair:  key(name, name),
		setCnet4: spans(v4), setCnet6: spans(v6),
		setLAN4: spans(v4), setLAN6: spans(v6),
		setHome4: key(name, v4), setHome6: key(name, v6),
		setEnd4: key(v4), setEnd6: key(v6),
		setIso4: key(name, v4), setIso6: key(name, v6),
		setTrust4: spans(name, v4), setTrust6: spans(name, v6),
		setOpen4: key(v4, proto, port), setOpen6: key(v6, proto, port),
		setMasq4: spans(v4), setMasq6: spans(v6),
		setSnat4: to(spans(v4), v4), setSnat6: to(spans(v6), v6),
		setLo4:  key(proto, port),
		setPub4: to(key(v4, proto, port), v4, port), setPub6: to(key(v6, proto, port), v6, port),
		setPubAny4: to(key(proto, port), v4, port), setPubAny6: to(key(proto, port), v6, port),
		setLive4: key(proto, v4, port, v4, port), setLive6: key(proto, v6, port, v6, port),
		setLiveAny4: key(proto, v4, port, port), setLiveAny6: key(proto, v6, port, port),
		setPorts: key(name), setTrunks: key(name),
		setMACs:   key(name, ether),
		setBound4: key(name, ether, v4), setBound6: key(name, ether, v6),
		setAnySource: key(name), setRouters: key(name), setDHCP: key(name), setLANPorts: key(name),
		setIsoPorts: key(name), setIsoMACs: key(ether), setSelf: key(name, name),
	}
	var made [setCount]*nft.Set
	for id := range setCount {
		s := sets[id]
		s.Table, s.Name, s.Comment = routesTable(), id.String(), id.purpose()
		if id >= firstFrameSet {
			s.Table = framesTable()
		}
		made[id] = &s
	}
	return made
}

// String is the name of the set in the kernel.
func (s setID) String() string { return s.words()[0] }

// purpose is the comment of the set in the kernel; the second of two twins has none.
func (s setID) purpose() string { return s.words()[1] }

// words are name and purpose.
func (s setID) words() [2]string {
	return [setCount][2]string{
		setNets:     {"nets", "bridges of networks"},
		setIfs:      {"ifs", "those that are ours alone"},
		setAdopted:  {"adopted", "those that others use too"},
		setInternal: {"internal", "those that reach nothing else"},
		setClosed:   {"closed", "those that reach no service of the host"},
		setLoop:     {"loop", "those that the host's 127.0.0.0/8 reaches"},
		setOpened4:  {"opened4", "foreign links that forward for our sake only"},
		setOpened6:  {"opened6", ""},
		setPair:     {"pair", "from and to that talk freely"},
		setCnet4:    {"cnet4", "subnets that are ours alone"},
		setCnet6:    {"cnet6", ""},
		setLAN4:     {"lan4", "subnets of adopted bridges"},
		setLAN6:     {"lan6", ""},
		setHome4:    {"home4", "bridge and an endpoint on it"},
		setHome6:    {"home6", ""},
		setEnd4:     {"end4", "endpoints on adopted bridges"},
		setEnd6:     {"end6", ""},
		setIso4:     {"iso4", "endpoints isolated on their bridge"},
		setIso6:     {"iso6", ""},
		setTrust4:   {"trust4", "link from which a subnet may be reached"},
		setTrust6:   {"trust6", ""},
		setOpen4:    {"open4", "ports open without translation"},
		setOpen6:    {"open6", ""},
		setMasq4:    {"masq4", "subnets that take the address of the way out"},
		setMasq6:    {"masq6", ""},
		setSnat4:    {"snat4", "subnets that take a fixed address"},
		setSnat6:    {"snat6", ""},
		setLo4:      {"lo4", "ports published on 127.0.0.0/8"},
		setPub4:     {"pub4", "ports published on one address"},
		setPub6:     {"pub6", ""},
		setPubAny4:  {"pub4any", "ports published on all addresses"},
		setPubAny6:  {"pub6any", ""},
		setLive4:    {"live4", "flows that pub4 allows: endpoint, host"},
		setLive6:    {"live6", ""},
		setLiveAny4: {"live4any", "flows that pub4any allows"},
		setLiveAny6: {"live6any", ""},

		setPorts:     {"ports", "bound ports"},
		setTrunks:    {"trunks", "links between bridges of one network"},
		setMACs:      {"macs", "who may send by a port"},
		setBound4:    {"bound4", "and from which address"},
		setBound6:    {"bound6", ""},
		setAnySource: {"anysource", "ports that anything may come in by"},
		setRouters:   {"routers", "ports that may advertise routes"},
		setDHCP:      {"dhcp", "ports that may serve DHCP"},
		setLANPorts:  {"lanports", "bound ports of adopted bridges"},
		setIsoPorts:  {"isoports", "ports that reach no other such port"},
		setIsoMACs:   {"isomacs", "who is behind them"},
		setSelf:      {"self", "ports and trunks, each with itself"},
	}[s]
}
