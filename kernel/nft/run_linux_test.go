// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

func TestElements(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(0)
		run(t, c, func(tx *Tx) { tx.Load(&r.Layout) })

		more := []Element{Key(Ifname("cnv2")), {Key: Ifname("cnv3"), Comment: "three"}}
		lan := []Element{Within(prefix("10.0.0.0/8")), Key(Addr(addr("198.51.100.7"))), Within(prefix("224.0.0.0/3"))}
		run(t, c, func(tx *Tx) {
			tx.AddElements(r.ifs, more...)
			tx.AddElements(r.cnet4, lan...)
		})
		r.ifs.Elements = append(r.ifs.Elements, more...)
		r.cnet4.Elements = append(r.cnet4.Elements, lan...)
		mustMatch(t, c, &r.Layout)

		// What is there already with the same data stays.
		run(t, c, func(tx *Tx) { tx.AddElements(r.ifs, more...) })
		mustMatch(t, c, &r.Layout)

		run(t, c, func(tx *Tx) {
			tx.DeleteElements(r.ifs, more[0])
			tx.DeleteElements(r.cnet4, lan...)
		})
		r.ifs.Elements = slices.Delete(r.ifs.Elements, 2, 3)
		r.cnet4.Elements = r.cnet4.Elements[:2]
		mustMatch(t, c, &r.Layout)

		// Other data for a key, and a set's whole content, in one transaction.
		web := KeyData(Tuple{}.Proto(TCP).Port(8080), Addr(addr("192.0.2.3")).Port(81))
		run(t, c, func(tx *Tx) {
			tx.DeleteElements(r.pub4any, web)
			tx.AddElements(r.pub4any, web)
			tx.FlushSet(r.ifs)
			tx.AddElements(r.ifs, more[0])
			tx.FlushSet(r.cnet6)
		})
		r.pub4any.Elements, r.ifs.Elements, r.cnet6.Elements = []Element{web}, more[:1], nil
		mustMatch(t, c, &r.Layout)

		// The whole content of the table, old and new never mixed.
		r2 := newRouted(0)
		r2.ptcp.Elements = append(r2.ptcp.Elements, Key(Port(1)), Key(Port(65535)))
		run(t, c, func(tx *Tx) { tx.Replace(&r2.Layout) })
		mustMatch(t, c, &r2.Layout)
	})
}

// TestRefusal asks for what cannot be and looks at what the errors name.
func TestRefusal(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(0)
		run(t, c, func(tx *Tx) { tx.Load(&r.Layout) })
		other := KeyData(Tuple{}.Proto(TCP).Port(8080), Addr(addr("192.0.2.3")).Port(80))
		many := make([]Element, 1200)
		for i := range many {
			many[i] = Key(Port(uint16(i + 10000)))
		}
		absent := slices.Clone(many)
		absent[900] = Key(Port(99))
		for want, fill := range map[string]func(tx *Tx){
			`add element inet cnm pub4any tcp . 8080: file exists`: func(tx *Tx) {
				tx.AddElements(r.ifs, Key(Ifname("cnv7")))
				tx.AddElements(r.pub4any, KeyData(Tuple{}.Proto(UDP).Port(8080), Addr(addr("192.0.2.3")).Port(80)), other)
			},
			`delete element inet cnm ifs "cnv8": no such file or directory`: func(tx *Tx) {
				tx.DeleteElements(r.ifs, Key(Ifname("cnv0")), Key(Ifname("cnv8")), Key(Ifname("cnv1")))
			},
			`delete element inet cnm ptcp 99: no such file or directory`: func(tx *Tx) {
				tx.AddElements(r.ptcp, many...)
				tx.DeleteElements(r.ptcp, absent...)
			},
			`delete element inet cnm cnet4 10.0.0.0/8: no such file or directory`: func(tx *Tx) {
				tx.DeleteElements(r.cnet4, Within(prefix("192.0.2.128/25")), Within(prefix("10.0.0.0/8")))
			},
			`add rule inet cnm forw iifname @nosuch accept: no such file or directory`: func(tx *Tx) {
				tx.AddRule(r.Chains[6], NewRule("", IIfName.In("nosuch"), Accept()))
			},
			`add rule inet cnm forw tcp dport { 80, 443 } jump nosuch: no such file or directory`: func(tx *Tx) {
				tx.AddRule(r.Chains[6], NewRule("", TCPDport.Num(80, 443), Jump("nosuch")))
			},
			`delete table ip nosuch: no such file or directory`: func(tx *Tx) {
				tx.DeleteTable(TableID{IPv4, "nosuch"})
			},
			`delete set inet cnm ifs: device or resource busy`: func(tx *Tx) { tx.DeleteSet(r.ifs) },
		} {
			for _, per := range []bool{true, false} {
				refused(t, c, want, per, fill)
			}
		}
		mustMatch(t, c, &r.Layout)
	})
}

// refused makes a change that must be refused with an error of that text, whether
// the kernel tells which element it was or, as older ones, does not.
func refused(t *testing.T, c *Conn, want string, tells bool, fill func(tx *Tx)) {
	t.Helper()
	if !tells {
		old := dialWithoutOffsets(t)
		defer func() {
			if err := old.Close(); err != nil {
				t.Error(err)
			}
		}()
		c = old
	}
	var tx Tx
	fill(&tx)
	err := c.Run(t.Context(), &tx)
	var e *Error
	if !errors.As(err, &e) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
		return
	}
	if e.Index < 0 || e.Index >= tx.Len() || errors.Is(err, ErrOwned) || !errors.Is(err, e.Errno) {
		t.Errorf("%v: index %d of %d, errno %v", err, e.Index, tx.Len(), e.Errno)
	}
}

// dialWithoutOffsets makes a socket on which the kernel answers as it did before
// it told where in a message something was wrong.
func dialWithoutOffsets(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial(Config{})
	if err != nil {
		t.Fatal(err)
	}
	err = c.control(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestManyElements loads three sets of 10,000 elements in one batch, or of as
// many as a process without privilege on this machine may send at once.
func TestManyElements(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(0)
		r.ptcp.Elements, r.pub4any.Elements, r.cnet6.Elements = nil, nil, nil
		const perThree = 16 + 36 + 64 + 8 // bytes of one element of each set
		for i := range min(10000, c.Limit()/perThree-100) {
			port, a := uint16(i+1), addr6(i)
			r.ptcp.Elements = append(r.ptcp.Elements, Key(Port(port)))
			r.pub4any.Elements = append(r.pub4any.Elements,
				KeyData(Tuple{}.Proto(UDP).Port(port), Addr(addr("192.0.2.2")).Port(port)))
			r.cnet6.Elements = append(r.cnet6.Elements, Within(netip.PrefixFrom(a, 120)))
		}
		before := c.RoundTrips()
		run(t, c, func(tx *Tx) { tx.Replace(&r.Layout) })
		if n := c.RoundTrips() - before; n != 1 {
			t.Errorf("%d messages were sent", n)
		}
		mustMatch(t, c, &r.Layout)
		run(t, c, func(tx *Tx) {
			tx.DeleteElements(r.pub4any, r.pub4any.Elements[1:]...)
			tx.FlushSet(r.ptcp)
			tx.DeleteElements(r.cnet6, r.cnet6.Elements[10:]...)
		})
		r.ptcp.Elements, r.pub4any.Elements, r.cnet6.Elements = nil, r.pub4any.Elements[:1], r.cnet6.Elements[:10]
		mustMatch(t, c, &r.Layout)
	})
}

// addr6 is the first address of the i-th /120 of a /64.
func addr6(i int) netip.Addr {
	b := prefix("2001:db8::/64").Addr().As16()
	b[12], b[13], b[14] = byte(i>>16), byte(i>>8), byte(i)
	return netip.AddrFrom16(b)
}

// TestTooLarge sends more than a socket may.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(0)
		var tx Tx
		tx.Load(&r.Layout)
		c.limit = tx.Size() - 1
		if err := c.Run(t.Context(), &tx); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("got %v, want %v", err, ErrTooLarge)
		}
		if _, err := c.Snapshot(t.Context(), r.Table.TableID); !errors.Is(err, unix.ENOENT) {
			t.Errorf("something was done: %v", err)
		}
		c.limit++
		if err := c.Run(t.Context(), &tx); err != nil {
			t.Error(err)
		}
		mustMatch(t, c, &r.Layout)
	})
}

// TestLimit sends exactly as much as the socket may, if that is little enough to
// be tried.
func TestLimit(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(0)
		run(t, c, func(tx *Tx) { tx.Load(&r.Layout) })
		limit := min(c.Limit(), 8<<20)
		// The same few elements again and again, as fills the batch.
		port := []Element{Key(Port(1))}
		var tx Tx
		tx.AddElements(r.ptcp, port...)
		one := tx.Size()
		tx.AddElements(r.ptcp, port...)
		each := tx.Size() - one
		for n := tx.Size(); n+each <= limit; n += each {
			tx.AddElements(r.ptcp, port...)
		}
		if err := c.Run(t.Context(), &tx); err != nil {
			t.Errorf("%d bytes of %d: %v", tx.Size(), c.Limit(), err)
		}
	})
}

// TestConcurrent changes sets from many goroutines through one socket.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(Owner)
		run(t, c, func(tx *Tx) { tx.Load(&r.Layout) })
		const workers, rounds = 8, 50
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range rounds {
					name := Key(Ifname(fmt.Sprintf("w%dx%d", w, i)))
					var tx Tx
					tx.AddElements(r.ifs, name)
					if err := c.Run(t.Context(), &tx); err != nil {
						t.Error(err)
					}
				}
				name := Key(Ifname(fmt.Sprintf("w%dx0", w)))
				var tx Tx
				tx.DeleteElements(r.ifs, name, name) // the second is refused, and so both
				if err := c.Run(t.Context(), &tx); !errors.Is(err, unix.ENOENT) {
					t.Errorf("got %v, want %v", err, unix.ENOENT)
				}
			})
		}
		wg.Wait()
		have, err := c.Elements(t.Context(), r.ifs)
		if err != nil || len(have) != workers*rounds+2 {
			t.Errorf("%d elements, error %v", len(have), err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		var tx Tx
		tx.FlushSet(r.ifs)
		if err := c.Run(canceled, &tx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
}

// TestClosed uses a socket after its end.
func TestClosed(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, err := Dial(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		var tx Tx
		tx.AddTable(Table{TableID: TableID{Inet, "t"}})
		if err := c.Run(t.Context(), &tx); err == nil {
			t.Error("a closed socket made a change")
		}
		if _, err := c.Tables(t.Context()); err == nil {
			t.Error("a closed socket read something")
		}
	})
}
