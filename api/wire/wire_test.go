// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// keys decodes v's JSON into its keys.
func keys(t *testing.T, v any) map[string]json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestContract holds the keys that scripts rely on, and that no list or map is ever null.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"network":  {FromNetwork(&cnm.Network{}, nil), "id name driver subnets internal ipv4 ipv6 options labels created state"},
		"subnet":   {FromNetwork(&cnm.Network{Subnets: []cnm.Subnet{{}}}, nil).Subnets[0], "prefix gateway range"},
		"endpoint": {FromEndpoint("n", &cnm.Endpoint{}), "id name network sandbox network_id sandbox_id interface mac addresses gateways aliases ports state"},
		"joined":   {FromAttachment(&cnm.Attachment{}), "id name network sandbox network_id sandbox_id interface mac addresses gateways aliases ports state"},
		"port":     {Port{}, "proto host_ip host_port port"},
		"sandbox":  {FromSandbox(&cnm.Sandbox{}, nil), "id name namespace owned endpoints state"},
		"driver":   {FromDriver("d", &cnm.Description{}), "name options unfit"},
		"event":    {FromEvent(&cnm.Event{}), "time object action name detail"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := keys(t, c.v)
			for key := range strings.FieldsSeq(c.want) {
				if _, ok := got[key]; !ok {
					t.Errorf("key %q is missing", key)
				}
			}
			for key, value := range got {
				if string(value) == "null" {
					t.Errorf("key %q is null", key)
				}
			}
		})
	}
}

func TestPublicNetworkKeepsSecrets(t *testing.T) {
	t.Parallel()
	nw := FromNetwork(&cnm.Network{Name: "front", Labels: map[string]string{"a": "b"}, Options: map[string]string{"c": "d"}}, []string{"web"})
	got := keys(t, nw.Public())
	for _, key := range []string{"labels", "options", "ipam_options", "endpoints"} {
		if _, ok := got[key]; ok {
			t.Errorf("key %q is shown", key)
		}
	}
	if string(got["name"]) != `"front"` {
		t.Errorf("name is %s", got["name"])
	}
}

func TestAttachmentShows(t *testing.T) {
	t.Parallel()
	at := cnm.Attachment{
		Network: cnm.Network{ID: "n1", Name: "front"},
		Sandbox: cnm.Sandbox{ID: "s1", Name: "web"},
		Endpoint: cnm.Endpoint{
			ID: "e1", Network: "n1", Name: "web", MAC: cnm.MAC{2, 0, 0, 0, 0, 5},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::2/64")},
			Publish:   []cnm.PortSpec{{Proto: cnm.TCP, Port: 80}},
		},
		Join: cnm.Join{
			Interface: "eth0", Default: cnm.FamilySet{IPv4: true, IPv6: true},
			Result: cnm.JoinResult{
				Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
				Ports:    []cnm.Port{{Proto: cnm.TCP, HostIP: netip.IPv6Unspecified(), HostPort: 8080, Port: 80}},
			},
		},
	}
	got := keys(t, FromAttachment(&at))
	for key, want := range map[string]string{
		"network": `"front"`, "sandbox": `"web"`, "network_id": `"n1"`, "sandbox_id": `"s1"`, "interface": `"eth0"`,
		"mac": `"02:00:00:00:00:05"`, "addresses": `["10.0.0.2/24","fd00::2/64"]`, "gateways": `["10.0.0.1","fd00::1"]`,
		"default_route": `["ipv4","ipv6"]`, "publish": `["80/tcp"]`,
		"ports": `[{"proto":"tcp","host_ip":"::","host_port":8080,"port":80}]`,
	} {
		if string(got[key]) != want {
			t.Errorf("%s is %s, want %s", key, got[key], want)
		}
	}
}

func TestCookieSurvivesJavaScript(t *testing.T) {
	t.Parallel()
	sb := FromSandbox(&cnm.Sandbox{Namespace: cnm.Namespace{Cookie: 1<<63 + 1}}, nil)
	if got := string(keys(t, sb)["namespace_cookie"]); got != `"9223372036854775809"` {
		t.Errorf("cookie is %s", got)
	}
	data, err := json.Marshal(sb)
	if err != nil {
		t.Fatal(err)
	}
	var back Sandbox
	if err := json.Unmarshal(data, &back); err != nil || back.NamespaceCookie != 1<<63+1 {
		t.Errorf("came back as %d, %v", back.NamespaceCookie, err)
	}
}

// TestErrorTravels: every kind, with all its fields and with none.
func TestErrorTravels(t *testing.T) {
	t.Parallel()
	for _, k := range cnm.Kinds() {
		for _, err := range []error{
			&cnm.Error{Op: "attach", Kind: k.Kind, Field: "ip", Network: "n", Endpoint: "e", Sandbox: "s", Err: errors.New("why")},
			&cnm.Error{Kind: k.Kind, Err: errors.New("why")},
			fmt.Errorf("around: %w", &cnm.Error{Op: "attach", Kind: k.Kind, Field: "ip", Err: errors.New("why")}),
			cnm.During("attach", fmt.Errorf("around: %w", cnm.FieldErrorf(k.Kind, "ip", "why"))),
		} {
			data, fail := json.Marshal(FromError(err))
			if fail != nil {
				t.Fatal(fail)
			}
			var e Error
			if fail := json.Unmarshal(data, &e); fail != nil {
				t.Fatal(fail)
			}
			back := e.Restore()
			if !errors.Is(back, k.Kind) || back.Error() != err.Error() {
				t.Errorf("%v (%v) came back as %v (%v)", err, k.Kind, back, cnm.KindOf(back))
			}
			var was, is *cnm.Error
			errors.As(err, &was)
			errors.As(back, &is)
			if was.Field != is.Field || was.Network != is.Network || was.Endpoint != is.Endpoint || was.Sandbox != is.Sandbox {
				t.Errorf("%+v came back as %+v", was, is)
			}
		}
	}
	if e := FromError(errors.New("plain")); e.Kind != "internal" || e.Message != "plain" {
		t.Errorf("a plain error became %+v", e)
	}
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	off := false
	req := NetworkCreate{
		Name: "front", IPv6: &off, DNS: []string{"192.0.2.53", "2001:db8::53"},
		Subnets: []SubnetCreate{
			{Prefix: "10.0.0.0/24", Gateway: "10.0.0.1", Range: "10.0.0.128/25", Reserved: map[string]string{"printer": "10.0.0.9"}},
			{Prefix: "fd00::/64"},
		},
	}
	spec, err := req.Spec()
	if err != nil {
		t.Fatal(err)
	}
	s := spec.Subnets[0]
	if s.Prefix.String() != "10.0.0.0/24" || s.Gateway.String() != "10.0.0.1" || s.Range.String() != "10.0.0.128/25" || s.Reserved["printer"].String() != "10.0.0.9" {
		t.Errorf("subnet %+v", s)
	}
	if spec.Subnets[1].Gateway.IsValid() || spec.IPv4 != nil || *spec.IPv6 || len(spec.DNS) != 2 {
		t.Errorf("spec %+v", spec)
	}
	at := Attach{Name: "w", EndpointSettings: EndpointSettings{
		Addresses: []string{"10.0.0.9", "fd00::9"}, MAC: "02:00:00:00:00:01", Publish: []string{"8000-8001:80-81/udp", "443"},
	}}
	as, err := at.Specs()
	if err != nil {
		t.Fatal(err)
	}
	if len(as.Endpoint.Publish) != 3 || as.Endpoint.MAC.String() != "02:00:00:00:00:01" || as.Endpoint.Addresses[1].String() != "fd00::9" {
		t.Errorf("spec %+v", as)
	}
}

func TestSpecsName(t *testing.T) {
	t.Parallel()
	network := func(r NetworkCreate) error { _, err := r.Spec(); return err }
	sandbox := func(r SandboxCreate) error { _, err := r.Spec(); return err }
	endpoint := func(r EndpointCreate) error { _, err := r.Spec(); return err }
	publish := func(r Publish) error { _, _, err := r.Specs(); return err }
	for name, c := range map[string]struct {
		err         error
		field, text string
	}{
		"prefix":     {network(NetworkCreate{Subnets: []SubnetCreate{{Prefix: "10.0.0/24"}}}), "subnet", `"10.0.0/24" is no prefix`},
		"host bits":  {network(NetworkCreate{Subnets: []SubnetCreate{{Prefix: "fd00::1/64"}}}), "subnet", "write fd00::/64"},
		"gateway":    {network(NetworkCreate{Subnets: []SubnetCreate{{Prefix: "10.0.0.0/24", Gateway: "x"}}}), "gateway", `"x" is no plain`},
		"zone":       {network(NetworkCreate{DNS: []string{"fe80::1%eth0"}}), "dns", "no plain"},
		"mapped":     {network(NetworkCreate{DNS: []string{"::ffff:10.0.0.1"}}), "dns", "no plain"},
		"range":      {network(NetworkCreate{Subnets: []SubnetCreate{{Prefix: "10.0.0.0/24", Range: "10.0.0.1/25"}}}), "ip-range", "host bits"},
		"reserved":   {network(NetworkCreate{Subnets: []SubnetCreate{{Prefix: "10.0.0.0/24", Reserved: map[string]string{"a": "b"}}}}), "reserve", "no plain"},
		"two places": {sandbox(SandboxCreate{PID: 1, Host: true}), "netns", "one of netns, pid and host"},
		"pid":        {sandbox(SandboxCreate{PID: -1}), "pid", "no process"},
		"add-host":   {sandbox(SandboxCreate{AddHosts: []HostCreate{{"a", "b"}}}), "add-host", "no plain"},
		"ip":         {endpoint(EndpointCreate{EndpointSettings: EndpointSettings{Addresses: []string{"10.0.0.2/24"}}}), "ip", "no plain"},
		"mac":        {endpoint(EndpointCreate{EndpointSettings: EndpointSettings{MAC: "01:00:00:00:00:00"}}), "mac", "group"},
		"publish":    {endpoint(EndpointCreate{EndpointSettings: EndpointSettings{Publish: []string{"99999"}}}), "publish", "99999"},
		"no owner":   {publish(Publish{Add: []string{"80"}}), "sandbox", "either"},
		"two owners": {publish(Publish{Endpoint: "a/b", Sandbox: "c", Add: []string{"80"}}), "sandbox", "either"},
		"network":    {publish(Publish{Endpoint: "a/b", Network: "c", Add: []string{"80"}}), "network", "sandbox only"},
		"no port":    {publish(Publish{Sandbox: "c"}), "publish", "no port"},
		"bad port":   {publish(Publish{Sandbox: "c", Remove: []string{"x"}}), "publish", `"x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e *cnm.Error
			if !errors.Is(c.err, cnm.Invalid) || !errors.As(c.err, &e) || e.Field != c.field || !strings.Contains(c.err.Error(), c.text) {
				t.Errorf("got %v, want an invalid of field %q with %q", c.err, c.field, c.text)
			}
		})
	}
}

func TestEventShows(t *testing.T) {
	t.Parallel()
	e := FromEvent(&cnm.Event{Time: time.Unix(0, 0).UTC(), Object: "drift", Action: "repair", Endpoint: "e", Detail: map[string]string{"a": "b"}})
	if e.Object != "drift" || e.EndpointID != "e" || e.Detail["a"] != "b" {
		t.Errorf("got %+v", e)
	}
}
