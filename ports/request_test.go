// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/libnetwork/cnm"
)

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	v4 := Targets{V4: addr("203.0.113.2")}
	v6 := Targets{V6: addr("2001:db8:a::2")}
	for _, tc := range []struct {
		name  string
		specs []cnm.PortSpec
		to    Targets
		part  string
	}{
		{"protocol", []cnm.PortSpec{{Proto: 1, Port: 80}}, endpoint(), "use tcp, udp or sctp"},
		{"no port", []cnm.PortSpec{{Proto: cnm.TCP}}, endpoint(), "port is 0"},
		{"range backwards", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostPort: 9, HostPortEnd: 8}}, endpoint(), "are no range"},
		{"range from nothing", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostPortEnd: 8}}, endpoint(), "are no range"},
		{"mapped", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostIP: addr("::ffff:192.0.2.1")}}, endpoint(), "no plain"},
		{"zone", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostIP: addr("fe80::1%lo")}}, endpoint(), "no plain"},
		{"link-local", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostIP: addr("fe80::1")}}, endpoint(), "link-local"},
		{"multicast", []cnm.PortSpec{{Proto: cnm.UDP, Port: 80, HostIP: addr("224.0.0.1")}}, endpoint(), "unicast"},
		{"broadcast", []cnm.PortSpec{{Proto: cnm.UDP, Port: 80, HostIP: addr("255.255.255.255")}}, endpoint(), "unicast"},
		{"v6 for a v4 endpoint", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostIP: addr("2001:db8::1")}}, v4, "has no IPv6 address"},
		{"v4 for a v6 endpoint", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostIP: addr("127.0.0.1")}}, v6, "has no IPv4 address"},
		{"no endpoint address", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80, HostIP: addr("127.0.0.1")}}, Targets{}, "has no address"},
		{"no address to publish on", []cnm.PortSpec{{Proto: cnm.TCP, Port: 80}}, Targets{}, "no address of a family"},
		{"twice", []cnm.PortSpec{
			{Proto: cnm.TCP, Port: 80, HostPort: 8080, HostPortEnd: 8080},
			{Proto: cnm.TCP, Port: 81, HostPort: 8080, HostPortEnd: 8080, HostIP: addr("127.0.0.1")},
		}, endpoint(), `port 8080/tcp on 127.0.0.1 is asked for twice, by "8080:80/tcp" and "127.0.0.1:8080:81/tcp"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := plan(&Request{Specs: tc.specs, Addresses: both(), Targets: tc.to})
			wantKind(t, err, cnm.Invalid, tc.part)
		})
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	v4 := Targets{V4: netip.MustParseAddr("203.0.113.2")}
	for _, tc := range []struct {
		name string
		spec string
		to   Targets
		want []netip.Addr
	}{
		{"both families", "80", endpoint(), both()},
		{"one family", "80", v4, both()[:1]},
		{"one address", "192.0.2.1:8080:80", endpoint(), []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		{"spliced to the other family", "[::1]:8080:80", v4, []netip.Addr{netip.IPv6Loopback()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			req := request(t, "a", tc.spec)
			req.Targets = tc.to
			req.Addresses = append(req.Addresses, req.Addresses...) // given twice counts once
			wants, err := plan(&req)
			if err != nil || len(wants) != 1 || !slices.Equal(wants[0].addrs, tc.want) {
				t.Errorf("got %+v (%v), want %v", wants, err, tc.want)
			}
		})
	}
}

func TestPlanAllowsWhatDiffers(t *testing.T) {
	t.Parallel()
	req := request(t, "a", "8080:80", "8080:80/udp", "8081:80", "80", "80", "8080-8090:80", "8080-8090:80")
	wants, err := plan(&req)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := order(wants), []int{0, 1, 2, 5, 6, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	one := netip.MustParseAddr("192.0.2.1")
	for _, tc := range []struct {
		addrs []netip.Addr
		want  int
	}{
		{both(), 1},
		{both()[:1], 1},
		{both()[1:], 1},
		{[]netip.Addr{one}, 1},
		{[]netip.Addr{one, netip.IPv6Unspecified()}, 2},
		{append(both(), one), 2},
		{nil, 0},
	} {
		if got := groups(tc.addrs); len(got) != tc.want {
			t.Errorf("%v gives %v, want %d groups", tc.addrs, got, tc.want)
		}
	}
}

func TestDefaultsFitTheLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{64, 256, 1024, 20_000, 1 << 20} {
		c := Config{}.within(limit)
		if used := c.Budget + fdsPerStream*c.Streams + c.Sessions; used >= limit {
			t.Errorf("limit %d: %d descriptors at most, want fewer", limit, used)
		}
		if limit >= 20_000 && c.Budget < 10_000 {
			t.Errorf("limit %d: a budget of %d, want 10,000 at least", limit, c.Budget)
		}
	}
}
