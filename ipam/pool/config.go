// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// Config is what an [Allocator] needs. The zero value works: it knows nothing of the host and has no quarantine.
type Config struct {
	// Defaults are the pools that subnets are chosen from, in this order. A family with none of its own here has the
	// built-in ones: for IPv4 172.17.0.0/16 to 172.31.0.0/16 whole, then 192.168.0.0/16 in /20, then 10.0.0.0/8 in /24; for IPv6 the
	// [ULA] of Seed in /64.
	Defaults []DefaultPool
	// Seed makes the built-in IPv6 pool the same at every start. Give it something that is this machine's alone and stays.
	// Empty: drawn at random by New.
	Seed []byte
	// Host tells what the host uses now. It is called, with no lock held, whenever a subnet is chosen or a given one is
	// checked. Nil: nothing is used.
	Host func(ctx context.Context) ([]Used, error)
	// Quarantine says when a freed address is clear. Mark and Clear are called with the allocator's lock held: they may not
	// block nor call back. Wait is called without it. Nil: a freed address is clear at once.
	Quarantine cnm.Quarantine
}

// DefaultPool is a prefix that subnets are cut from.
type DefaultPool struct {
	Base netip.Prefix // masked
	Size int          // prefix length of a subnet, Base.Bits() or more
}

// Used is something of the host that a subnet must not overlap.
type Used struct {
	// Prefix is the destination of a route, or one address. One of length 0 or 1 is ignored: it is a default route, or
	// the half of one, as VPN clients set it, and says nothing about who uses an address.
	Prefix netip.Prefix
	What   string // as errors name it: "route 10.0.0.0/8 dev tun0", "resolver 192.168.1.1"
	// Link is the host's link that leads there without a router between; "" if there is none. A network that is what is behind the link
	// (see [cnm.PoolRequest]) may overlap it.
	Link string
}

// ULA is the unique local prefix (RFC 4193) of a seed: fd00::/8 and 40 bits that depend on all of the seed.
func ULA(seed []byte) netip.Prefix {
	sum := sha256.Sum256(append([]byte("cnm ula "), seed...))
	b := [16]byte{0xfd}
	copy(b[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 48)
}

// defaults are the configured pools of the family, or the built-in ones.
func (c *Config) defaults(f cnm.Family) []DefaultPool {
	var own []DefaultPool
	for _, d := range c.Defaults {
		if cnm.FamilyOf(d.Base.Addr()) == f {
			own = append(own, d)
		}
	}
	switch {
	case len(own) > 0:
		return own
	case f == cnm.IPv4:
		return builtinIPv4()
	default:
		return []DefaultPool{{Base: ULA(c.Seed), Size: 64}}
	}
}

func builtinIPv4() []DefaultPool {
	var all []DefaultPool
	for second := byte(17); second <= 31; second++ {
		all = append(all, DefaultPool{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, second, 0, 0}), 16), 16})
	}
	return append(all,
		DefaultPool{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 0, 0}), 16), 20},
		DefaultPool{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, 0}), 8), 24})
}

// settle checks the configuration and fills in what is drawn.
func (c *Config) settle() error {
	for _, d := range c.Defaults {
		if !d.Base.IsValid() {
			return cnm.Errorf(cnm.Invalid, "a default pool has no prefix; write it as 10.0.0.0/8")
		}
		if err := checkPrefix("", "default pool", d.Base); err != nil {
			return err
		}
		if d.Size < d.Base.Bits() || d.Size > d.Base.Addr().BitLen() {
			return cnm.Errorf(cnm.Invalid, "default pool %s cannot be cut into subnets of length %d; give one from %d to %d",
				d.Base, d.Size, d.Base.Bits(), d.Base.Addr().BitLen())
		}
	}
	if len(c.Seed) == 0 {
		c.Seed = make([]byte, 16)
		_, _ = rand.Read(c.Seed) // never returns an error since Go 1.24
	}
	return nil
}
