// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// ours is annotations by their keys without the prefix.
func ours(pairs ...string) map[string]string {
	m := map[string]string{"org.example": "another's", "org.libnetworks": "no prefix of ours"}
	for i := 0; i < len(pairs); i += 2 {
		m[Prefix+pairs[i]] = pairs[i+1]
	}
	return m
}

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		annotations map[string]string
		want        string // as JSON
	}{
		"none of ours": {ours(), "null"},
		"one network":  {ours("networks", "web"), `{"name":"","attach":[{"network":"web"}],"Made":""}`},
		"no network":   {ours("networks", "none", "hostname", "h"), `{"name":"","hostname":"h","Made":""}`},
		"made before":  {ours("sandbox", "box"), `{"name":"","Made":"box"}`},
		"everything of one": {
			ours("networks", "web", "name", "n", "name.web", "e", "hostname", "h", "dns", "192.0.2.1, 2001:db8::1", "dns-search", "example.com",
				"add-host", "a:192.0.2.2,b:[2001:db8::2],c:2001:db8::3", "publish", "8080:80,[::1]:53:53/udp", "ip", "10.0.0.9,fd00::9", "alias", "x,y",
				"mac", "02:00:00:00:00:07", "interface", "up0", "gateway-priority", "-3", "opt", "a=b=c,d=", "sysctl", "net.ipv4.conf.IFNAME.arp_notify=1"),
			`{"name":"n","hostname":"h","dns":["192.0.2.1","2001:db8::1"],"dns_search":["example.com"],` +
				`"add_hosts":[{"name":"a","address":"192.0.2.2"},{"name":"b","address":"2001:db8::2"},{"name":"c","address":"2001:db8::3"}],` +
				`"attach":[{"network":"web","name":"e","addresses":["10.0.0.9","fd00::9"],"mac":"02:00:00:00:00:07","aliases":["x","y"],"publish":["8080:80","[::1]:53:53/udp"],` +
				`"options":{"a":"b=c","d":""},"interface":"up0","gateway_priority":-3,"sysctls":{"net.ipv4.conf.IFNAME.arp_notify":"1"}}],"Made":""}`,
		},
		"two networks, one with dots": {
			ours("networks", "web,my.net", "ip.my.net", "10.0.0.9", "ip.WEB", "10.1.0.9", "alias", "x", "alias.my.net", "y", "publish", "80", "publish.web", "8443:443"),
			`{"name":"","attach":[{"network":"web","addresses":["10.1.0.9"],"aliases":["x"],"publish":["8443:443"]},` +
				`{"network":"my.net","addresses":["10.0.0.9"],"aliases":["x","y"]}],"publish":["80"],"Made":""}`,
		},
	} {
		r, err := Parse(c.annotations)
		got, _ := json.Marshal(r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\n%s, %v, want\n%s", name, got, err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		annotations map[string]string
		field, part string
	}{
		{ours("networks", "web", "nets", "x"), "nets", "unknown; known are add-host, alias, dns, dns-search, gateway-priority, hostname, interface, ip, mac, name, networks, opt, publish, sandbox, sysctl"},
		{ours("networks", "web", "", "x"), "", "unknown"},
		{ours("networks", "web", "Publish", "80"), "Publish", "unknown"},
		{ours("networks", "web", "networks.web", "x"), "networks.web", "unknown"},
		{ours("hostname", "h"), "networks", "org.libnetwork.hostname needs org.libnetwork.networks"},
		{ours("networks", ""), "networks", "empty place"},
		{ours("networks", "a,,b"), "networks", "empty place"},
		{ours("networks", "a,A"), "networks", `"A" twice`},
		{ours("networks", "a,b", "ip", "10.0.0.1"), "ip", "there are 2 networks; write org.libnetwork.ip.NETWORK"},
		{ours("networks", "none", "mac", "02:00:00:00:00:01"), "mac", "there are 0 networks"},
		{ours("networks", "none", "publish", "80"), "publish", "no network"},
		{ours("networks", "none", "alias", "x"), "alias", "no network"},
		{ours("networks", "a", "ip.b", "10.0.0.1"), "ip.b", `does not list network "b"`},
		{ours("networks", "a", "hostname.a", "x"), "hostname.a", "for the container"},
		{ours("networks", "a", "gateway-priority", "high"), "gateway-priority", `"high" is not a number`},
		{ours("networks", "a", "opt", "x"), "opt", "not KEY=VALUE"},
		{ours("networks", "a", "opt", "x=1,x=2"), "opt", "twice"},
		{ours("networks", "a", "add-host", "x"), "add-host", "not NAME:IP"},
		{ours("sandbox", "box", "networks", "a"), "networks", "does not go with org.libnetwork.sandbox"},
		{ours("sandbox", ""), "sandbox", "is empty"},
	} {
		_, err := Parse(c.annotations)
		var e *cnm.Error
		if !errors.As(err, &e) || e.Kind != cnm.Invalid || e.Field != Prefix+c.field || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%v: %v", c.annotations, err)
		}
	}
	// Values that every caller of the API may get wrong.
	for field, annotations := range map[string]map[string]string{
		"ip": ours("networks", "a", "ip", "10.0.0"), "mac": ours("networks", "a", "mac", "x"), "publish": ours("networks", "a", "publish", "99999"),
		"dns": ours("networks", "a", "dns", "x"), "add-host": ours("networks", "a", "add-host", "x:y"),
	} {
		_, err := Parse(annotations)
		var e *cnm.Error
		if !errors.As(err, &e) || e.Kind != cnm.Invalid || e.Field != field {
			t.Errorf("%v: %v", annotations, err)
		}
	}
}

// TestGrammarIsDescribed holds docs/oci.md equal to the grammar.
func TestGrammarIsDescribed(t *testing.T) {
	t.Parallel()
	text := page(t)
	keys := []string{networksKey, sandboxKey}
	for _, a := range grammar() {
		keys = append(keys, a.key)
		if a.network != nil && !strings.Contains(text, "`"+a.key+".NETWORK`") {
			t.Errorf("docs/oci.md does not describe %s.NETWORK", a.key)
		}
	}
	for _, key := range keys {
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("docs/oci.md does not describe %s", key)
		}
	}
}

func TestSandboxName(t *testing.T) {
	t.Parallel()
	hex64 := strings.Repeat("0123456789abcdef", 4)
	for id, want := range map[string]string{
		"web-1.x_Y": "web-1.x_Y",
		hex64:       "0123456789ab",
		"a+b":       "ca-b-300273da",
		"_x":        "cx-a01e47cb",
	} {
		if got := sandboxName(id); got != want {
			t.Errorf("%s gives %s, want %s", id, got, want)
		}
	}
	long := strings.Repeat("x", 100)
	seen := map[string]string{}
	for _, id := range []string{long, long + "y", "a+b", "a-b", "a*b", "+", "-", "ü", strings.Repeat("é", 60)} {
		name := sandboxName(id)
		if err := cnm.CheckName("name", name); err != nil || seen[name] != "" {
			t.Errorf("%q gives %q, as %q does: %v", id, name, seen[name], err)
		}
		seen[name] = id
	}
}

// FuzzParse: whatever the annotations, no panic; what is accepted is fit to be sent.
func FuzzParse(f *testing.F) {
	f.Add("networks", "a,b", "ip.a", "10.0.0.1")
	f.Add("sandbox", "x", "networks", "y")
	f.Add("networks", "none", "publish", "80")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		annotations := ours(k1, v1, k2, v2)
		r, err := Parse(annotations)
		if err != nil {
			if !errors.Is(err, cnm.Invalid) {
				t.Errorf("%v", err)
			}
			return
		}
		if r == nil {
			t.Fatalf("%v are none of ours", slices.Sorted(maps.Keys(annotations)))
		}
		if _, _, _, err := r.Specs(); err != nil && r.Made == "" {
			t.Errorf("%v", err)
		}
	})
}
