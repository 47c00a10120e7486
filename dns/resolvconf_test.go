// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

func TestParseResolvConf(t *testing.T) {
	t.Parallel()
	got := ParseResolvConf([]byte("# comment\n; another\n nameserver 192.0.2.1\r\nnameserver\t2001:db8::1 # rest\n" +
		"nameserver nonsense\nnameserver\ndomain example.com rest\noptions edns0 ndots:2\nsortlist 10.0.0.0\n" +
		"search a.example b.example bad\x01word\noptions trust-ad\nnameserver fe80::1%eth0\nnameserver 127.0.0.53"))
	want := ResolvConf{
		Nameservers: []netip.Addr{
			netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"),
			netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("127.0.0.53"),
		},
		Search:  []string{"a.example", "b.example"},
		Options: []string{"edns0", "ndots:2", "trust-ad"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parsed %+v, want %+v", got, want)
	}
}

// Whatever a host's file holds, what is written of it reads back as the same.
func FuzzParseResolvConf(f *testing.F) {
	for _, s := range []string{
		"nameserver 192.0.2.1\nsearch a b\noptions x\n", "nameserver fe80::1%et h0\n", "search \xff\x00 .\n", "domain a\nsearch\n", "options \u00a0 a\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		once := ParseResolvConf(text)
		again := ParseResolvConf(once.Bytes())
		if len(once.Nameservers)+len(once.Search)+len(once.Options) > 0 && !reflect.DeepEqual(normal(once), normal(again)) {
			t.Errorf("%q reads as %+v, and back as %+v", text, once, again)
		}
		if _, err := ChooseResolvers(cnm.Sandbox{}, nil, HostResolvers{Conf: once, Upstream: once}); err != nil {
			t.Errorf("%q cannot be used: %v", text, err)
		}
	})
}

// normal makes no difference between nil and empty.
func normal(r ResolvConf) ResolvConf {
	return ResolvConf{append([]netip.Addr{}, r.Nameservers...), append([]string{}, r.Search...), append([]string{}, r.Options...)}
}

func addrs(all ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range all {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestChooseResolvers(t *testing.T) {
	t.Parallel()
	plain := HostResolvers{Conf: ResolvConf{addrs("192.0.2.53", "2001:db8::53"), []string{"corp.example"}, []string{"ndots:2"}}}
	stub := HostResolvers{
		Conf:     ResolvConf{addrs("127.0.0.53"), []string{"corp.example"}, []string{"edns0", "trust-ad"}},
		Upstream: ResolvConf{Nameservers: addrs("192.0.2.1", "2001:db8::1", "fe80::1%eth0")},
	}
	onNet := func(internal bool, dns ...string) cnm.Attachment {
		return joined("a", func(at *cnm.Attachment) { at.Network.Internal, at.Network.DNS = internal, addrs(dns...) }, "10.1.0.2/24")
	}
	given := func(sb *cnm.Sandbox) { sb.DNS = addrs("198.51.100.53", "198.51.100.53") }
	for name, tc := range map[string]struct {
		sb   cnm.Sandbox
		at   []cnm.Attachment
		host HostResolvers
	}{
		"from-host":   {box(nil), []cnm.Attachment{onNet(false)}, plain},
		"alone":       {box(nil), nil, plain},
		"own":         {box(given), []cnm.Attachment{onNet(false, "203.0.113.1")}, plain},
		"network":     {box(nil), []cnm.Attachment{onNet(false, "203.0.113.1", "2001:db8:1::1")}, plain},
		"stub":        {box(nil), []cnm.Attachment{onNet(false)}, stub},
		"loopback":    {box(nil), nil, HostResolvers{Conf: ResolvConf{Nameservers: addrs("127.0.0.1", "::1", "0.0.0.0", "::")}, Upstream: stub.Upstream}},
		"some-remote": {box(nil), nil, HostResolvers{Conf: ResolvConf{Nameservers: addrs("127.0.0.53", "192.0.2.9", "169.254.169.253")}, Upstream: stub.Upstream}},
		"no-file":     {box(nil), nil, HostResolvers{}},
		"internal":    {box(nil), []cnm.Attachment{onNet(true), onNet(true)}, plain},
		// A server that was given is one inside of the internal network.
		"internal-own":   {box(given), []cnm.Attachment{onNet(true)}, plain},
		"internal-mixed": {box(nil), []cnm.Attachment{onNet(true), onNet(false)}, plain},
		"search":         {box(func(sb *cnm.Sandbox) { sb.DNSSearch = []string{"a.example", "b.example"} }), nil, plain},
		"no-search":      {box(func(sb *cnm.Sandbox) { sb.DNSSearch = []string{"."} }), nil, plain},
		"host":           {box(func(sb *cnm.Sandbox) { sb.Host, sb.Owned = true, false }), nil, stub},
		"host-search":    {box(func(sb *cnm.Sandbox) { sb.Host, sb.DNSSearch = true, []string{"a.example"} }), nil, stub},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ChooseResolvers(tc.sb, tc.at, tc.host)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "resolv-"+name, got.Bytes())
		})
	}
}

func TestChooseResolversRefuses(t *testing.T) {
	t.Parallel()
	for field, sb := range map[string]cnm.Sandbox{
		"dns":        {DNS: []netip.Addr{{}}},
		"dns-search": {DNSSearch: []string{"a\nnameserver 192.0.2.1"}},
	} {
		_, err := ChooseResolvers(sb, nil, HostResolvers{})
		var e *cnm.Error
		if !errors.As(err, &e) || e.Kind != cnm.Invalid || e.Field != field {
			t.Errorf("%s: error %v", field, err)
		}
	}
}
