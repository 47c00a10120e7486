// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/nft"
)

// kernelModel is the elements that a kernel has: it refuses what the kernel refuses.
type kernelModel map[string]string

// run makes a change of elements.
func (k kernelModel) run(d *nft.Drift) error {
	for _, s := range d.Extra {
		for _, e := range s.Elements {
			key := s.Set.Name + " " + keyText(e)
			if _, ok := k[key]; !ok {
				return fmt.Errorf("%s is not there", key)
			}
			delete(k, key)
		}
	}
	for _, s := range d.Missing {
		for _, e := range s.Elements {
			key := s.Set.Name + " " + keyText(e)
			if _, ok := k[key]; ok {
				return fmt.Errorf("%s is there already", key)
			}
			k[key] = e.String()
		}
	}
	return nil
}

func keyText(e nft.Element) string {
	e.Data, e.Verdict = nft.Tuple{}, nft.Verdict{}
	return e.String()
}

// wantedOf is what the kernel should have of owners, found the slow way; false if they conflict.
func wantedOf(owners map[Owner][]item) (kernelModel, bool) {
	all := map[itemID]item{}
	for _, items := range owners {
		for _, it := range items {
			if other, ok := all[it.id()]; ok && other.elem != it.elem {
				return nil, false
			}
			all[it.id()] = it
		}
	}
	k := kernelModel{}
	for _, it := range all {
		covered := false
		for _, outer := range all {
			if it.span() && outer.span() && outer.set == it.set && outer.link == it.link && outer.prefix.Bits() < it.prefix.Bits() && outer.prefix.Contains(it.prefix.Addr()) {
				if outer.elem.Data != it.elem.Data {
					return nil, false
				}
				covered = true
			}
		}
		if !covered {
			k[it.set.String()+" "+keyText(it.elem)] = it.elem.String()
		}
	}
	return k, true
}

// someRules draws rules from a world so small that they meet.
func someRules(t *rapid.T) Rules {
	var r Rules
	for range rapid.IntRange(0, 2).Draw(t, "ports") {
		r.Published = append(r.Published, Published{
			Proto: cnm.TCP,
			Host:  netip.AddrPortFrom(netip.IPv4Unspecified(), rapid.Uint16Range(1, 3).Draw(t, "host port")),
			To:    netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), rapid.Uint16Range(1, 2).Draw(t, "port")),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "bridges") {
		b := Bridge{Link: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "link"), Masquerade: cnm.FamilySet{IPv4: true, IPv6: true}, Trusted: []string{"t"}}
		six := rapid.Bool().Draw(t, "family")
		bits := rapid.SampledFrom([]int{8, 12, 16, 32}).Draw(t, "bits")
		a := netip.AddrFrom4([4]byte{10, rapid.SampledFrom([]byte{0, 1, 16}).Draw(t, "net")})
		if six {
			a, bits = netip.AddrFrom16([16]byte{0xfd, rapid.SampledFrom([]byte{0, 1, 16}).Draw(t, "net")}), min(bits*4, 128)
		}
		b.Subnets = []netip.Prefix{netip.PrefixFrom(a, bits)}
		if rapid.Bool().Draw(t, "fixed") {
			b.Source4 = netip.AddrFrom4([4]byte{192, 0, 2, rapid.ByteRange(1, 2).Draw(t, "source")})
		}
		r.Bridges = append(r.Bridges, b)
	}
	return r
}

// TestMirror makes random changes of random owners, some of which the kernel refuses, and compares with the slow way.
func TestMirror(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, sets, kernel := newMirror(), newSets(), kernelModel{}
		owners := map[Owner][]item{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			c := change{}
			for range rapid.IntRange(1, 3).Draw(t, "owners") {
				r := someRules(t)
				items, err := itemsOf(&r)
				if err != nil {
					t.Fatal(err)
				}
				c[Owner(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "owner"))] = items
			}
			next := maps.Clone(owners)
			maps.Copy(next, c)
			want, ok := wantedOf(next)
			old, err := m.apply(c)
			if ok != (err == nil) {
				t.Fatalf("change %v: error %v, conflict %v", c, err, !ok)
			}
			if err != nil {
				if !errors.As(err, new(*ConflictError)) || len(m.pending(&sets).Extra)+len(m.pending(&sets).Missing) != 0 {
					t.Fatalf("after the conflict %v there is something to do: %s", err, m.pending(&sets))
				}
				m.commit()
				continue
			}
			if rapid.Bool().Draw(t, "refused") {
				m.revert(c, old)
				if d := m.pending(&sets); !d.None() {
					t.Fatalf("after a refusal there is something to do: %s", d)
				}
				m.commit()
				continue
			}
			if err := kernel.run(m.pending(&sets)); err != nil {
				t.Fatal(err)
			}
			m.commit()
			owners = next
			if !maps.Equal(kernel, want) {
				t.Fatalf("kernel has %v, want %v", kernel, want)
			}
		}
	})
}
