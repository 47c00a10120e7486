// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

func specs(t *testing.T, texts ...string) []cnm.PortSpec {
	t.Helper()
	var all []cnm.PortSpec
	for _, text := range texts {
		s, err := cnm.ParsePortSpecs(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s...)
	}
	return all
}

func TestRepublish(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		have, add, remove, want []string
		bound                   []cnm.Port
		kind                    error
	}{
		"add":                        {have: []string{"8080:80"}, add: []string{"443"}, want: []string{"8080:80", "443"}},
		"remove as written":          {have: []string{"8080:80", "443"}, remove: []string{"8080:80"}, want: []string{"443"}},
		"remove by port":             {have: []string{"8080:80", "127.0.0.1:81:80", "443"}, remove: []string{"80"}, want: []string{"443"}},
		"remove by address":          {have: []string{"127.0.0.1:81:80", "82:80"}, remove: []string{"127.0.0.1::80"}, want: []string{"82:80"}},
		"remove by the chosen port":  {have: []string{"80"}, bound: []cnm.Port{{Proto: cnm.TCP, HostPort: 32768, Port: 80}}, remove: []string{"32768:80"}},
		"remove another's host port": {have: []string{"8080:80"}, remove: []string{"8081:80"}, kind: cnm.NotFound},
		"remove another protocol":    {have: []string{"8080:80"}, remove: []string{"8080:80/udp"}, kind: cnm.NotFound},
		"add what is there":          {have: []string{"8080:80"}, add: []string{"8080:80"}, kind: cnm.Exists},
		"swap":                       {have: []string{"8080:80"}, add: []string{"8080:81"}, remove: []string{"8080:80"}, want: []string{"8080:81"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := cnm.Attachment{Endpoint: cnm.Endpoint{Publish: specs(t, tt.have...)}}
			at.Join.Result.Ports = tt.bound
			got, err := republish(at, specs(t, tt.add...), specs(t, tt.remove...))
			if !errors.Is(err, tt.kind) || (err == nil) != (tt.kind == nil) {
				t.Fatalf("error %v, want %v", err, tt.kind)
			}
			if err == nil && !slices.Equal(got, specs(t, tt.want...)) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if !slices.Equal(at.Endpoint.Publish, specs(t, tt.have...)) {
				t.Errorf("the record's own list became %v", at.Endpoint.Publish)
			}
		})
	}
}

func TestOfFamilies(t *testing.T) {
	t.Parallel()
	all := specs(t, "8080:80", "127.0.0.1:81:80", "[::1]:82:80")
	var at cnm.Attachment
	at.Endpoint.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")}
	at.Join.Default = cnm.FamilySet{IPv4: true}
	if got, want := ofFamilies(all, at), specs(t, "0.0.0.0:8080:80", "127.0.0.1:81:80"); !slices.Equal(got, want) {
		t.Errorf("IPv4: got %v, want %v", got, want)
	}
	at.Join.Default = cnm.FamilySet{IPv6: true}
	if got, want := ofFamilies(all, at), specs(t, "[::]:8080:80", "[::1]:82:80"); !slices.Equal(got, want) {
		t.Errorf("IPv6: got %v, want %v", got, want)
	}
	// What its network says of host addresses counts where there is no choice to make.
	at.Endpoint.Addresses = at.Endpoint.Addresses[1:]
	if got, want := ofFamilies(all, at), specs(t, "8080:80", "[::1]:82:80"); !slices.Equal(got, want) {
		t.Errorf("IPv6 alone: got %v, want %v", got, want)
	}
}
