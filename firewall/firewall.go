// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/bits"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/nft"
)

// DefaultMarkBit is the bit of packet marks that is ours unless configured otherwise.
const DefaultMarkBit = 1 << 25

// Config is what a firewall is made of. The zero value will do.
type Config struct {
	// Log is told of repairs; nil: nobody is.
	Log *slog.Logger
	// MarkBit is one bit of packet marks that nothing else on the host uses; 0 means [DefaultMarkBit].
	MarkBit uint32
	// Shared makes plain tables, which others may change and delete, also where the kernel has owned ones.
	Shared bool
	// Socket is one that an earlier firewall gave away by [Firewall.Socket]; the tables are still its own. The firewall
	// takes it over. Nil: a new one.
	Socket *os.File
	// Repaired is told, in [Firewall.Run], what others had changed and what became of it; it must not block. Nil: nobody is.
	Repaired func([]cnm.Drift)
}

// Firewall is the one writer of our tables. It is safe for concurrent use. Changes of callers that come at the
// same time are made in one transaction.
type Firewall struct {
	cfg    Config
	log    *slog.Logger
	conn   *nft.Conn
	opened []Opened

	queue  queue
	life   context.Context //nolint:containedctx // the firewall's own life, which ends what is under way
	finish func() error    // takes the turn, for ever, and closes the connection, once
	closed chan struct{}   // closed when nobody will have the turn again

	// turn has room for one: the call that has put something in. All below belongs to that call.
	turn   chan struct{}
	layout *layout
	mirror *mirror
	loaded bool // the tables are in the kernel, made by us
	tx     nft.Tx
}

// Open connects to the kernel and changes nothing in it: that is for the first transaction, which makes the whole
// content of our tables what is wanted. The error is of kind [cnm.Busy] if another process owns them, [cnm.Exists] if tables of their
// name are not ours.
func Open(ctx context.Context, cfg Config) (*Firewall, error) {
	if cfg.MarkBit == 0 {
		cfg.MarkBit = DefaultMarkBit
	}
	if bits.OnesCount32(cfg.MarkBit) != 1 {
		return nil, cnm.Errorf(cnm.Invalid, "mark bit %#x is not one bit", cfg.MarkBit)
	}
	conn, err := connect(cfg.Socket)
	if err != nil {
		return nil, kindly(err)
	}
	f := &Firewall{
		cfg: cfg, log: cfg.Log, conn: conn, mirror: newMirror(),
		turn: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if err := f.look(ctx); err != nil {
		return nil, errors.Join(kindly(err), conn.Close())
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.life = life
	f.finish = sync.OnceValue(func() error {
		stop()
		f.turn <- struct{}{}
		close(f.closed)
		return conn.Close()
	})
	return f, nil
}

// connect makes a socket, or takes one over.
func connect(inherited *os.File) (*nft.Conn, error) {
	if inherited != nil {
		return nft.Inherit(inherited)
	}
	return nft.Dial(nft.Config{})
}

// look learns what the kernel can do and what it carries.
func (f *Firewall) look(ctx context.Context) error {
	features, err := f.conn.Features(ctx)
	if err != nil {
		return err
	}
	flags := nft.TableFlags(0)
	if features.OwnerPersist && !f.cfg.Shared {
		flags = nft.Owner | nft.Persist
	}
	f.layout = newLayout(f.cfg.MarkBit, flags)
	tables, err := f.tables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.Owner != 0 && t.Owner != f.conn.PortID() {
			return cnm.Errorf(cnm.Busy, "table %s belongs to another process (netlink port %d); end it, or wait until it has ended", t.TableID, t.Owner)
		}
	}
	if len(tables) == 0 {
		return nil
	}
	return f.lookOpened(ctx)
}

// lookOpened learns which links an earlier process opened.
func (f *Firewall) lookOpened(ctx context.Context) error {
	families := map[string]cnm.FamilySet{}
	for _, set := range []setID{setOpened4, setOpened6} {
		elements, err := f.conn.Elements(ctx, f.layout.sets[set])
		if errors.Is(err, unix.ENOENT) {
			return nil // another version of our rules
		}
		if err != nil {
			return err
		}
		for _, e := range elements {
			name := strings.Trim(e.Key.String(), `"`)
			fs := families[name]
			families[name] = cnm.FamilySet{IPv4: fs.IPv4 || set == setOpened4, IPv6: fs.IPv6 || set == setOpened6}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f.opened = append(f.opened, Opened{name, families[name]})
	}
	return nil
}

// tables gives those of our tables that the kernel has. Tables of their name that are not ours are refused.
func (f *Firewall) tables(ctx context.Context) ([]nft.TableState, error) {
	all, err := f.conn.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var ours []nft.TableState
	for _, t := range all {
		if t.TableID != routesTable() && t.TableID != framesTable() {
			continue
		}
		if !strings.HasPrefix(t.Comment, stampPrefix) {
			return nil, cnm.Errorf(cnm.Exists, "table %s is there and was not made by this program; delete or rename it", t.TableID)
		}
		ours = append(ours, t)
	}
	return ours, nil
}

// Close ends the connection. The rules stay in force; without owned tables others may change them from then on.
// Calls that wait fail. It may be repeated.
func (f *Firewall) Close() error { return f.finish() }

// Socket gives a duplicate of the connection, for a service manager to keep: as long as it is open, nobody else can
// change the tables, also while no process of ours runs.
func (f *Firewall) Socket() (*os.File, error) {
	file, err := f.conn.File()
	return file, kindly(err)
}

// Owned tells whether the tables are protected from other processes.
func (f *Firewall) Owned() bool { return f.layout.routes.Table.Flags&nft.Owner != 0 }

// Opened are the links that the tables had as [Rules.Opened] when the firewall was opened: an earlier process
// switched their forwarding on.
func (f *Firewall) Opened() []Opened { return f.opened }

// Stamped names our table and the version of its rules, if the network namespace of the calling thread carries it; "" if not.
func Stamped(ctx context.Context) (string, error) {
	conn, err := nft.Dial(nft.Config{})
	if err != nil {
		return "", kindly(err)
	}
	tables, err := conn.Tables(ctx)
	if err = errors.Join(err, conn.Close()); err != nil {
		return "", kindly(fmt.Errorf("tables: %w", err))
	}
	for _, t := range tables {
		if t.TableID == routesTable() && strings.HasPrefix(t.Comment, stampPrefix) {
			return fmt.Sprintf("table %s (%s)", t.TableID, t.Comment), nil
		}
	}
	return "", nil
}
