// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// loaded makes a socket and the two tables, with n endpoints in them.
func loaded(b *testing.B, n int) (*Conn, *routed, *Layout) {
	b.Helper()
	c, r, frames := dial(b), newRouted(0), newFrames(0)
	for i := range n {
		e := endpoint(i)
		r.pub4any.Elements = append(r.pub4any.Elements, e.published)
		frames.Sets[1].Elements = append(frames.Sets[1].Elements, e.bound4)
		frames.Sets[2].Elements = append(frames.Sets[2].Elements, e.bound6...)
	}
	run(b, c, func(tx *Tx) {
		tx.Load(&r.Layout)
		tx.Load(frames)
	})
	return c, r, frames
}

// attachment is what an endpoint brings to the tables.
type attachment struct {
	published, port, bound4, iso Element
	bound6                       []Element
}

// endpoint gives the elements of the i-th endpoint.
func endpoint(i int) attachment {
	name, hw := fmt.Sprintf("cnp%d", i), mac(byte(i))
	hw[3], hw[4] = byte(i>>16), byte(i>>8)
	v4 := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
	port := uint16(i + 10000)
	return attachment{
		published: KeyData(Tuple{}.Proto(TCP).Port(port), Addr(v4).Port(80)),
		port:      Key(Port(port)),
		iso:       Key(MAC(hw)),
		bound4:    Key(Ifname(name).MAC(hw).Addr(v4)),
		bound6: []Element{
			Key(Ifname(name).MAC(hw).Addr(addr6(i))),
			Key(Ifname(name).MAC(hw).Addr(addr("fe80::2"))),
		},
	}
}

// BenchmarkElement adds and deletes one element, each in a transaction.
func BenchmarkElement(b *testing.B) {
	for _, n := range []int{0, 10000} {
		b.Run(fmt.Sprintf("of%d", n), func(b *testing.B) {
			kerneltest.Bench(b, func(b *testing.B) {
				c, r, _ := loaded(b, n)
				e := []Element{Key(Ifname("cnv9"))}
				var tx Tx
				b.ReportAllocs()
				for b.Loop() {
					tx.Reset()
					tx.AddElements(r.ifs, e...)
					if err := c.Run(b.Context(), &tx); err != nil {
						b.Fatal(err)
					}
					tx.Reset()
					tx.DeleteElements(r.ifs, e...)
					if err := c.Run(b.Context(), &tx); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkAttach adds the twelve elements of an endpoint to two tables in one
// transaction, and deletes them in another.
func BenchmarkAttach(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprintf("of%d", n), func(b *testing.B) {
			kerneltest.Bench(b, func(b *testing.B) {
				c, r, frames := loaded(b, n)
				e, other := endpoint(50000), endpoint(50001)
				change := func(tx *Tx, do func(tx *Tx, s *Set, e ...Element)) {
					tx.Reset()
					do(tx, r.pub4any, e.published, other.published)
					do(tx, r.ptcp, e.port, other.port)
					do(tx, frames.Sets[0], e.iso, other.iso)
					do(tx, frames.Sets[1], e.bound4, other.bound4)
					do(tx, frames.Sets[2], e.bound6[0], e.bound6[1], other.bound6[0], other.bound6[1])
				}
				var tx Tx
				b.ReportAllocs()
				for b.Loop() {
					change(&tx, (*Tx).AddElements)
					if err := c.Run(b.Context(), &tx); err != nil {
						b.Fatal(err)
					}
					change(&tx, (*Tx).DeleteElements)
					if err := c.Run(b.Context(), &tx); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkMany puts 20,000 elements into two sets in one transaction.
func BenchmarkMany(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		c, r, _ := loaded(b, 0)
		var ports, published []Element
		for i := range 10000 {
			e := endpoint(i)
			ports, published = append(ports, e.port), append(published, e.published)
		}
		var tx Tx
		for b.Loop() {
			tx.Reset()
			tx.FlushSet(r.ptcp)
			tx.FlushSet(r.pub4any)
			tx.AddElements(r.ptcp, ports...)
			tx.AddElements(r.pub4any, published...)
			if err := c.Run(b.Context(), &tx); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReplace puts both tables, with 1,000 endpoints, in the place of what
// is there.
func BenchmarkReplace(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		c, r, frames := loaded(b, 1000)
		for b.Loop() {
			run(b, c, func(tx *Tx) {
				tx.Replace(&r.Layout)
				tx.Replace(frames)
			})
		}
	})
}

// BenchmarkSnapshot reads a table with 10,000 published ports back and compares
// it.
func BenchmarkSnapshot(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		c, r, _ := loaded(b, 10000)
		for b.Loop() {
			mustMatch(b, c, &r.Layout)
		}
	})
}

// BenchmarkEncode writes the batch of one endpoint, without a kernel.
func BenchmarkEncode(b *testing.B) {
	r, e := newRouted(0), endpoint(1)
	var batch batch
	var tx Tx
	b.ReportAllocs()
	for b.Loop() {
		tx.Reset()
		tx.AddElements(r.pub4any, e.published)
		tx.AddElements(r.ptcp, e.port)
		batch.encode(&tx, 1, maxElements)
	}
}

// BenchmarkRefused makes a change that the kernel takes back.
func BenchmarkRefused(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		c, r, _ := loaded(b, 0)
		var tx Tx
		tx.DeleteElements(r.ifs, Key(Ifname("nosuch")))
		for b.Loop() {
			if err := c.Run(b.Context(), &tx); err == nil {
				b.Fatal("a missing element was deleted")
			}
		}
	})
}
