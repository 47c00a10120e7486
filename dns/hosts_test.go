// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n%s\nwant:\n%s", path, got, want)
	}
}

const boxID = cnm.SandboxID("0123456789abcdef0123456789abcdef")

func box(change func(sb *cnm.Sandbox)) cnm.Sandbox {
	sb := cnm.Sandbox{ID: boxID, Name: "box", Owned: true}
	if change != nil {
		change(&sb)
	}
	return sb
}

// joined is the sandbox's endpoint on a network.
func joined(id string, change func(at *cnm.Attachment), addresses ...string) cnm.Attachment {
	at := cnm.Attachment{Endpoint: cnm.Endpoint{ID: cnm.EndpointID(id), Name: "box"}, Join: cnm.Join{Joined: time.Unix(1000, 0)}}
	for _, a := range addresses {
		at.Endpoint.Addresses = append(at.Endpoint.Addresses, netip.MustParsePrefix(a))
	}
	if change != nil {
		change(&at)
	}
	return at
}

func TestHostsFile(t *testing.T) {
	t.Parallel()
	first := joined("b", nil, "10.1.0.2/24", "fd00:1::2/64")
	second := joined("a", func(at *cnm.Attachment) {
		at.Join.Default, at.Join.Joined = cnm.FamilySet{IPv4: true, IPv6: true}, time.Unix(2000, 0)
		at.Endpoint.Name, at.Endpoint.Aliases = "web", []string{"www", "WEB", "db"}
	}, "10.2.0.2/24")
	for name, tc := range map[string]struct {
		sb cnm.Sandbox
		at []cnm.Attachment
	}{
		"alone":    {box(nil), nil},
		"networks": {box(nil), []cnm.Attachment{first, second}},
		"hostname": {box(func(sb *cnm.Sandbox) { sb.Hostname = "web.example.com" }), []cnm.Attachment{first}},
		"extra": {box(func(sb *cnm.Sandbox) {
			sb.ExtraHosts = []cnm.HostEntry{
				{Name: "db", Address: netip.MustParseAddr("192.0.2.7")},
				{Name: "db", Address: netip.MustParseAddr("2001:db8::7")},
				{Name: "mapped", Address: netip.MustParseAddr("::ffff:192.0.2.8")},
			}
		}), []cnm.Attachment{first}},
		"host": {box(func(sb *cnm.Sandbox) { sb.Host, sb.Owned = true, false }), []cnm.Attachment{first}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := HostsFile(tc.sb, tc.at)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "hosts-"+name, got)
		})
	}
}

func TestHostsFileRefuses(t *testing.T) {
	t.Parallel()
	entry := func(name string, a netip.Addr) func(sb *cnm.Sandbox) {
		return func(sb *cnm.Sandbox) { sb.ExtraHosts = []cnm.HostEntry{{Name: name, Address: a}} }
	}
	a := netip.MustParseAddr("192.0.2.1")
	for name, tc := range map[string]struct {
		sb    cnm.Sandbox
		field string
	}{
		"second line":   {box(entry("a\n127.0.0.1 b", a)), "add-host"},
		"comment":       {box(entry("a#b", a)), "add-host"},
		"empty":         {box(entry("", a)), "add-host"},
		"long":          {box(entry(strings.Repeat("a", 300), a)), "add-host"},
		"no address":    {box(entry("a", netip.Addr{})), "add-host"},
		"zone":          {box(entry("a", netip.MustParseAddr("fe80::1%eth0"))), "add-host"},
		"host name":     {box(func(sb *cnm.Sandbox) { sb.Hostname = "a b" }), "hostname"},
		"host name two": {box(func(sb *cnm.Sandbox) { sb.Hostname = "a\nb" }), "hostname"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := HostsFile(tc.sb, []cnm.Attachment{joined("a", nil, "10.1.0.2/24")})
			var e *cnm.Error
			if !errors.As(err, &e) || e.Kind != cnm.Invalid || e.Field != tc.field {
				t.Errorf("error %v, want invalid %s", err, tc.field)
			}
			if _, nameErr := HostnameFile(tc.sb); (nameErr != nil) != (tc.field == "hostname") {
				t.Errorf("hostname file: %v", nameErr)
			}
		})
	}
}
