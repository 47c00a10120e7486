// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
)

// fakeHost is a host with links eth0 and eth1 to the outside and the hub cn-0. Its settings are in a map; what the firewall
// closes for transit is noted beside them, so that their order can be checked.
type fakeHost struct {
	t        *testing.T
	settings map[string]string
	closed   []firewall.Opened
	refuse   string // a key that cannot be written, or "firewall"
	hubs     map[string]hubNeeds
}

// single says whether the kernel can switch IPv6 on for one link (Linux 6.17).
func newFakeHost(t *testing.T, single bool) *fakeHost {
	t.Helper()
	f := &fakeHost{t: t, settings: map[string]string{}, hubs: map[string]hubNeeds{"cn-0": {families: cnm.FamilySet{IPv4: true, IPv6: true}}}}
	for _, name := range []string{"all", "eth0", "eth1", "cn-0"} {
		f.settings[key4(name)], f.settings["net/ipv6/conf/"+name+"/forwarding"] = "0", "0"
		f.settings["net/ipv6/conf/"+name+"/accept_ra"] = "1"
		if single {
			f.settings[key6(name)] = "0"
		}
	}
	f.settings["net/ipv6/conf/eth1/accept_ra"] = "0"
	return f
}

func (f *fakeHost) forwarding(closed ...firewall.Opened) *hostForwarding {
	h := &hostForwarding{fw: f, host: f, hubs: func() map[string]hubNeeds { return f.hubs }}
	h.links = func(context.Context) ([]link.Link, error) {
		var all []link.Link
		for _, name := range []string{"eth0", "eth1", "cn-0"} {
			all = append(all, link.Link{Name: name, Flags: unix.IFF_UP})
		}
		return all, nil
	}
	h.takeOver(closed)
	return h
}

func (f *fakeHost) open(h *hostForwarding) {
	f.t.Helper()
	if _, err := h.open(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	if h.differs() {
		f.t.Error("what was just set differs")
	}
}

func (f *fakeHost) read(key string) (string, error) {
	v, ok := f.settings[key]
	if !ok {
		return "", &fs.PathError{Op: "read", Path: key, Err: fs.ErrNotExist}
	}
	return v, nil
}

func (f *fakeHost) write(key, value string) error {
	if _, err := f.read(key); err != nil || key == f.refuse {
		return errors.Join(err, errors.New("refused"))
	}
	for _, name := range []string{"eth0", "eth1"} {
		is4, is6 := key == key4(name), key == key6(name) || key == global6
		if value == "1" && (is4 && !f.closes(name).IPv4 || is6 && !f.closes(name).IPv6) {
			f.t.Errorf("%s is set before the firewall closes %s for transit", key, name)
		}
	}
	f.settings[key] = value
	return nil
}

func (f *fakeHost) links6() ([]string, error) { return []string{"all", "eth0", "eth1", "cn-0"}, nil }

func (f *fakeHost) Set(_ context.Context, _ firewall.Owner, r firewall.Rules) error {
	if f.refuse == "firewall" {
		return errors.New("refused")
	}
	before := *f
	f.closed = r.Opened
	for _, o := range before.closed {
		now := f.closes(o.Link)
		open4 := f.settings[key4(o.Link)] == "1" && f.settings[global4] == "0"
		open6 := f.settings[key6(o.Link)] == "1" && f.settings[global6] == "0"
		if o.Families.IPv4 && !now.IPv4 && open4 || o.Families.IPv6 && !now.IPv6 && open6 {
			f.t.Errorf("%s is let go for transit while it forwards", o.Link)
		}
	}
	return nil
}

// closes are the families that the firewall closes a link for.
func (f *fakeHost) closes(name string) cnm.FamilySet {
	for _, o := range f.closed {
		if o.Link == name {
			return o.Families
		}
	}
	return cnm.FamilySet{}
}

// text is what the firewall closes, as "eth0 eth1/6".
func (f *fakeHost) text() string {
	var words []string
	for _, o := range f.closed {
		switch o.Families {
		case cnm.FamilySet{IPv4: true}:
			o.Link += "/4"
		case cnm.FamilySet{IPv6: true}:
			o.Link += "/6"
		}
		words = append(words, o.Link)
	}
	return strings.Join(words, " ")
}

func (f *fakeHost) Drop(context.Context, firewall.Owner) error { return nil }

// on are the settings that are 1 or 2.
func (f *fakeHost) on() string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(f.settings)) {
		if v := f.settings[key]; v != "0" && !strings.HasSuffix(key, "accept_ra") || v == "2" {
			keys = append(keys, strings.TrimPrefix(key, "net/")+"="+v)
		}
	}
	return strings.Join(keys, " ")
}

func TestForwardingIsGivenBack(t *testing.T) {
	t.Parallel()
	all := cnm.FamilySet{IPv4: true, IPv6: true}
	const both = "ipv4/conf/cn-0/forwarding=1 ipv4/conf/eth0/forwarding=1 ipv4/conf/eth1/forwarding=1 " +
		"ipv6/conf/cn-0/force_forwarding=1 ipv6/conf/eth0/force_forwarding=1 ipv6/conf/eth1/force_forwarding=1"
	tests := map[string]struct {
		single        bool
		before        map[string]string
		need          cnm.FamilySet
		on, closed    string
		after         string // when no network is left; the hub is gone with it
		afterARestart string // the same with a restart before
	}{
		"both families": {single: true, need: all, on: both, closed: "eth0 eth1"},
		"one family": {
			single: true, need: cnm.FamilySet{IPv4: true}, closed: "eth0/4 eth1/4",
			on: "ipv4/conf/cn-0/forwarding=1 ipv4/conf/eth0/forwarding=1 ipv4/conf/eth1/forwarding=1",
		},
		"a host that forwards IPv4": {
			single: true, need: all, before: map[string]string{global4: "1", key4("eth0"): "1", key4("eth1"): "1", key4("cn-0"): "1"},
			on:     "ipv4/conf/all/forwarding=1 " + both,
			closed: "eth0/6 eth1/6",
			after:  "ipv4/conf/all/forwarding=1 ipv4/conf/eth0/forwarding=1 ipv4/conf/eth1/forwarding=1",
		},
		"a link that forwards": {
			single: true, need: all, before: map[string]string{key4("eth1"): "1"}, on: both, closed: "eth0 eth1/6",
			after: "ipv4/conf/eth1/forwarding=1",
		},
		"before Linux 6.17": {
			need: all, closed: "eth0 eth1",
			on: "ipv4/conf/cn-0/forwarding=1 ipv4/conf/eth0/forwarding=1 ipv4/conf/eth1/forwarding=1 " +
				"ipv6/conf/all/accept_ra=2 ipv6/conf/all/forwarding=1 ipv6/conf/cn-0/accept_ra=2 ipv6/conf/eth0/accept_ra=2",
			afterARestart: "ipv6/conf/all/accept_ra=2 ipv6/conf/eth0/accept_ra=2", // which listens to routers as 1 does
		},
		"before Linux 6.17, a host that forwards IPv6": {
			need: all, before: map[string]string{global6: "1"},
			on:     "ipv4/conf/cn-0/forwarding=1 ipv4/conf/eth0/forwarding=1 ipv4/conf/eth1/forwarding=1 ipv6/conf/all/forwarding=1",
			closed: "eth0/4 eth1/4",
			after:  "ipv6/conf/all/forwarding=1",
		},
	}
	for name, tt := range tests {
		for _, restart := range []bool{false, true} {
			if restart {
				name += ", after a restart"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFakeHost(t, tt.single)
				maps.Copy(f.settings, tt.before)
				f.hubs["cn-0"] = hubNeeds{families: tt.need}
				h := f.forwarding()
				f.open(h)
				for range 2 {
					if got := f.on(); got != tt.on {
						t.Errorf("on are\n%s\nwant\n%s", got, tt.on)
					}
					if got := f.text(); got != tt.closed {
						t.Errorf("closed for transit are %q, want %q", got, tt.closed)
					}
					if restart {
						h = f.forwarding(f.closed...)
					}
					f.open(h)
				}
				delete(f.hubs, "cn-0")
				maps.DeleteFunc(f.settings, func(key, _ string) bool { return strings.Contains(key, "/cn-0/") })
				f.open(h)
				want := tt.after
				if restart && tt.afterARestart != "" {
					want = tt.afterARestart
				}
				if got := f.on(); got != want || len(f.closed) > 0 {
					t.Errorf("afterwards on are\n%s\nand closed %v, want\n%s", got, f.closed, want)
				}
			})
		}
	}
}

func TestForwardingFailsClosed(t *testing.T) {
	t.Parallel()
	f := newFakeHost(t, true)
	f.refuse = "firewall"
	h := f.forwarding()
	if _, err := h.open(t.Context()); err == nil || f.on() != "" {
		t.Errorf("with a firewall that refuses, on are %q, error %v", f.on(), err)
	}
	f.refuse = key4("eth1")
	if _, err := h.open(t.Context()); err == nil {
		t.Error("a refused setting is no error")
	}
	f.refuse = ""
	f.open(h)
	// What others switch off is switched on again and told; a switch of the whole host ends what was closed for its sake.
	f.settings[key4("eth0")] = "0"
	if !h.differs() {
		t.Error("a link that others closed is not noticed")
	}
	if drifts, err := h.open(t.Context()); err != nil || len(drifts) != 1 || f.settings[key4("eth0")] != "1" {
		t.Errorf("it was set to %q; told %v, error %v", f.settings[key4("eth0")], drifts, err)
	}
	f.settings[global4] = "1"
	if !h.differs() {
		t.Error("a host that forwards everywhere is not noticed")
	}
	f.open(h)
	if got, want := f.text(), "eth0/6 eth1/6"; got != want {
		t.Errorf("closed for transit are %q where the host forwards IPv4, want %q", got, want)
	}
}

func TestAdoptedBridgeIsOutside(t *testing.T) {
	t.Parallel()
	f := newFakeHost(t, true)
	f.hubs = map[string]hubNeeds{"eth1": {cnm.FamilySet{IPv4: true}, true}}
	h := f.forwarding()
	f.open(h)
	if got, want := f.text(), "cn-0/4 eth0/4 eth1/4"; got != want {
		t.Errorf("closed for transit are %s, want %s", got, want)
	}
	f.hubs = nil
	f.open(h)
	if got := f.on(); got != "" || len(f.closed) > 0 {
		t.Errorf("afterwards on are %q, closed %v", got, f.closed)
	}
}
