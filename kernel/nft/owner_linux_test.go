// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// needPersist skips the test on a kernel without owned tables that persist.
func needPersist(t *testing.T, c *Conn) {
	t.Helper()
	f, err := c.Features(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !f.OwnerPersist {
		t.Skip("this kernel lacks the table flags owner and persist (Linux 6.9)")
	}
}

// flushRuleset sends what `nft flush ruleset` sends: delete every table.
func flushRuleset(t *testing.T, c *Conn) {
	t.Helper()
	b := &c.batch
	b.b, b.marks, b.first = b.b[:0], b.marks[:0], c.seq
	b.frame(unix.NFNL_MSG_BATCH_BEGIN, c.seq)
	b.end(b.message(0, 0, unix.NFT_MSG_DELTABLE, unix.NLM_F_ACK, unix.NFPROTO_UNSPEC))
	b.frame(unix.NFNL_MSG_BATCH_END, c.seq+2)
	if err := c.send(b.b); err != nil {
		t.Fatal(err)
	}
	if a, err := c.answers(c.seq, 1); err != nil || a.errno != 0 {
		t.Fatalf("flush ruleset: %v, %v", err, a.errno)
	}
	c.seq += 3
}

// owner gives who owns a table, and its flags.
func owner(t *testing.T, c *Conn, id TableID) (uint32, TableFlags) {
	t.Helper()
	tables, err := c.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(tables, func(s TableState) bool { return s.TableID == id })
	if i < 0 {
		t.Fatalf("table %s is gone", id)
	}
	return tables[i].Owner, tables[i].Flags
}

// TestOwnership follows a table through the lives of its owners.
func TestOwnership(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		other := dial(t)
		needPersist(t, other)
		first, err := Dial(Config{})
		if err != nil {
			t.Fatal(err)
		}
		r, plain := newRouted(Owner|Persist), newRewrite()
		id := r.Table.TableID
		run(t, first, func(tx *Tx) { tx.Load(&r.Layout) })
		run(t, other, func(tx *Tx) { tx.Load(plain) })

		// Others can neither flush nor edit it.
		flushRuleset(t, other)
		mustMatch(t, other, &r.Layout)
		if _, err := other.Snapshot(t.Context(), plain.Table.TableID); !errors.Is(err, unix.ENOENT) {
			t.Errorf("the flush did not delete the plain table: %v", err)
		}
		for what, fill := range map[string]func(tx *Tx){
			"edit":  func(tx *Tx) { tx.AddElements(r.ifs, Key(Ifname("evil"))) },
			"adopt": func(tx *Tx) { tx.AddTable(r.Table) },
		} {
			var tx Tx
			fill(&tx)
			if err := other.Run(t.Context(), &tx); !errors.Is(err, ErrOwned) || errors.Is(err, ErrNotPermitted) {
				t.Errorf("%s by another socket: %v", what, err)
			}
		}
		if port, flags := owner(t, other, id); port != first.PortID() || flags != Owner|Persist {
			t.Errorf("owner %d, flags %s; the socket is %d", port, flags, first.PortID())
		}

		// It outlives its owner and is adopted.
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		mustMatch(t, other, &r.Layout)
		if port, flags := owner(t, other, id); port != 0 || flags != Persist {
			t.Errorf("after its owner's end: owner %d, flags %s", port, flags)
		}
		second := dial(t)
		run(t, second, func(tx *Tx) {
			tx.AddTable(r.Table)
			tx.AddElements(r.ifs, Key(Ifname("cnv9")))
		})
		r.ifs.Elements = append(r.ifs.Elements, Key(Ifname("cnv9")))
		flushRuleset(t, other)
		mustMatch(t, other, &r.Layout)
		if port, _ := owner(t, other, id); port != second.PortID() {
			t.Errorf("adopted by %d, not by %d", port, second.PortID())
		}
		// The owner may put another content in its place.
		run(t, second, func(tx *Tx) { tx.Replace(&r.Layout) })
		mustMatch(t, other, &r.Layout)
	})
}

// TestInherit hands the owning socket over, as a service manager does.
func TestInherit(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		other := dial(t)
		needPersist(t, other)
		first, err := Dial(Config{})
		if err != nil {
			t.Fatal(err)
		}
		r := newRouted(Owner | Persist)
		run(t, first, func(tx *Tx) { tx.Load(&r.Layout) })
		kept, err := first.File()
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		flushRuleset(t, other)
		// The first owner asked something and died before it read the answer.
		var b batch
		b.message(0, 0, unix.NFT_MSG_GETGEN, 0, unix.NFPROTO_UNSPEC)
		b.end(b.last)
		if _, err := kept.Write(b.b); err != nil {
			t.Fatal(err)
		}
		heir, err := Inherit(kept)
		if err != nil {
			t.Fatal(err)
		}
		if port, _ := owner(t, heir, r.Table.TableID); port != heir.PortID() {
			t.Errorf("owner %d is not the heir %d", port, heir.PortID())
		}
		run(t, heir, func(tx *Tx) { tx.FlushSet(r.ifs) })
		r.ifs.Elements = nil
		mustMatch(t, heir, &r.Layout)
		if err := heir.Close(); err != nil {
			t.Error(err)
		}

		// Anything else is no such socket.
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Inherit(fileOf(fd)); err == nil {
			t.Error("a socket of rtnetlink was inherited")
		}
	})
}

// TestFeatures asks twice and looks at what the probe leaves: nothing.
func TestFeatures(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		a, err := c.Features(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := c.Features(t.Context()); err != nil || a != b {
			t.Errorf("%+v, then %+v, %v", a, b, err)
		}
		if a.OwnerPersist && !a.Destroy {
			t.Errorf("%+v: a kernel of 6.9 has what one of 6.3 has", a)
		}
		if tables, err := c.Tables(t.Context()); err != nil || len(tables) != 0 {
			t.Errorf("tables %v, error %v", tables, err)
		}
		if !a.Destroy {
			return
		}
		r := newRouted(0)
		run(t, c, func(tx *Tx) {
			tx.DestroyTable(r.Table.TableID)
			tx.Load(&r.Layout)
			tx.DestroyElements(r.ifs, Key(Ifname("never")), Key(Ifname("cnv0")))
		})
		r.ifs.Elements = r.ifs.Elements[1:]
		mustMatch(t, c, &r.Layout)
	})
}

// TestNotPermitted changes what belongs to a network namespace whose user
// namespace the socket's maker has no power over.
func TestNotPermitted(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		var c *Conn
		withoutCapabilities(t, func() {
			var tx Tx
			tx.AddTable(Table{TableID: TableID{Inet, "t"}})
			var err error
			if c, err = Dial(Config{}); err != nil {
				t.Error(err)
				return
			}
			err = c.Run(context.Background(), &tx)
			if !errors.Is(err, ErrNotPermitted) || errors.Is(err, ErrOwned) {
				t.Errorf("got %v, want %v", err, ErrNotPermitted)
			}
		})
		if c != nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
