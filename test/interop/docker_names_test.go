// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// lookup gives the addresses that a container has for a name, sorted.
func (k *docked) lookup(name, host string) []string {
	k.Helper()
	found := map[string]bool{}
	all := strings.Split(k.d.Try("exec", name, "nslookup", host, "127.0.0.11").Out, "\n")
	for i, line := range all {
		text, ok := strings.CutPrefix(line, "Address: ")
		if a, err := netip.ParseAddr(text); ok && err == nil && i > 1 {
			found[a.String()] = true
		}
	}
	var sorted []string
	for a := range found {
		sorted = append(sorted, a)
	}
	slices.Sort(sorted)
	return sorted
}

// zone is a name server on the LAN that knows one name, and who has asked.
func (k *docked) zone() (asked func() []string) {
	k.Helper()
	names := make(chan string, 1000)
	var conn net.PacketConn
	err := k.p.Neighbour.Do(func() error {
		var err error
		conn, err = net.ListenPacket("udp", place.Neighbour4+":53")
		return err
	})
	if err != nil {
		k.Fatal(err)
	}
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			name, answer := answerName(query[:n])
			names <- name
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	k.Cleanup(func() { conn.Close() })
	return func() []string {
		var all []string
		for len(names) > 0 {
			all = append(all, <-names)
		}
		return all
	}
}

// answerName is the name that a query asks for, and the answer: shop.example has one address of IPv4.
func answerName(query []byte) (name string, answer []byte) {
	const header, typeA = 12, 1
	end := header
	for end < len(query) && query[end] != 0 {
		n := int(query[end])
		name += string(query[end+1:end+1+n]) + "."
		end += 1 + n
	}
	end += 5 // the root, the type and the class
	answer = slices.Clone(query[:end])
	copy(answer[2:header], []byte{0x84, 0x00, 0, 1, 0, 0, 0, 0, 0, 0}) // an authoritative answer to one question
	if name == "shop.example." && query[end-3] == typeA {
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 1, 0, 4, 198, 51, 100, 7)
	}
	return name, answer
}

// Names and aliases are those of the container's networks and of no other; names of the outside are asked for outside, but from an internal
// network.
func TestDockerNames(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		asked := k.zone()
		k.network("net", 1)
		k.network("other", 2)
		k.network("internal", 3, "--internal")
		server := []string{"--dns", place.Neighbour4}
		k.sleeper("web", "net", slices.Concat(server, []string{"--network-alias", "front", "--network-alias", "any", "--hostname", "www"})...)
		k.sleeper("second", "net", slices.Concat(server, []string{"--network-alias", "any", "--link", "web:linked"})...)
		k.sleeper("away", "other", server...)
		k.sleeper("shut", "internal", server...)
		web, second := k.addresses("web", "net"), k.addresses("second", "net")
		both := slices.Concat(web, second)
		slices.Sort(web)
		slices.Sort(both)
		short := k.d.Run("inspect", "--format", "{{slice .Id 0 12}}", "web")
		for _, c := range []struct {
			from, name string
			want       []string
		}{
			{"second", "web", web}, {"second", "front", web}, {"second", short, web}, {"second", "linked", web}, {"second", "web.net", web},
			{"second", "any", both}, {"away", "web", nil}, {"away", "front", nil}, {"shut", "web", nil},
			{"second", "shop.example", []string{"198.51.100.7"}}, {"shut", "shut", k.sorted("shut", "internal")},
		} {
			if got := k.lookup(c.from, c.name); !slices.Equal(got, c.want) {
				k.Errorf("%s has %v for %s, want %v", c.from, got, c.name, c.want)
			}
		}
		if got := k.inside("second", "nslookup "+web[0]+" 127.0.0.11"); !strings.Contains(got, "name = web.net") {
			k.Errorf("%s is called\n%s", web[0], got)
		}
		asked()
		if got := k.lookup("shut", "shop.example"); got != nil {
			k.Errorf("the internal network has %v for a name of outside", got)
		}
		if got := asked(); got != nil {
			k.Errorf("from the internal network %v were asked for", got)
		}
		// A network that comes or goes brings or takes its names.
		k.d.Run("network", "connect", "--alias", "guest", "net", "away")
		guest := k.addresses("away", "net")
		slices.Sort(guest)
		if got := k.lookup("second", "guest"); !slices.Equal(got, guest) {
			k.Errorf("guest is %v, want %v", got, guest)
		}
		if got := k.lookup("away", "front"); !slices.Equal(got, web) {
			k.Errorf("from a network that was connected front is %v, want %v", got, web)
		}
		k.d.Run("network", "disconnect", "net", "away")
		if got := k.lookup("second", "guest"); got != nil {
			k.Errorf("guest is gone and is %v", got)
		}
		k.nameFiles()
	})
}

// sorted are a container's addresses on a network, sorted.
func (k *docked) sorted(name, network string) []string {
	k.Helper()
	all := k.addresses(name, network)
	slices.Sort(all)
	return all
}

// The hosts file has the container's own addresses of both families, of the networks that it is on, and what was asked for; the resolver is Docker's.
func (k *docked) nameFiles() {
	k.Helper()
	k.sleeper("box", "net", "--hostname", "www", "--add-host", "printer:192.0.2.9", "--dns-search", "example.org")
	lines := func(want map[string]int) {
		k.Helper()
		hosts := strings.Split(k.inside("box", "cat /etc/hosts"), "\n")
		for line, n := range want {
			got := 0
			for _, h := range hosts {
				if strings.Join(strings.Fields(h), " ") == line {
					got++
				}
			}
			if got != n {
				k.Errorf("hosts has %d lines %q, want %d:\n%s", got, line, n, strings.Join(hosts, "\n"))
			}
		}
	}
	own := func(network string, n int, all map[string]int) map[string]int {
		for _, a := range k.addresses("box", network) {
			all[a+" www"] = n
		}
		return all
	}
	k.d.Run("network", "connect", "other", "box")
	then := own("other", 0, map[string]int{})
	lines(own("other", 1, own("net", 1, map[string]int{"192.0.2.9 printer": 1})))
	k.d.Run("network", "disconnect", "other", "box")
	if k.d.Generation == engine.Current { // 20.10 takes the lines of all networks away with one's
		own("net", 1, then)
	}
	lines(then)
	if got := k.inside("box", "cat /etc/resolv.conf"); !strings.Contains(got, "nameserver 127.0.0.11") || !strings.Contains(got, "search example.org") {
		k.Errorf("resolv.conf:\n%s", got)
	}
}
