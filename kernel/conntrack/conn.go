// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// readBuffer takes the largest datagram of a listing: the kernel fills as
	// much as the reader's buffer holds, up to 32 KiB.
	readBuffer = 32 << 10
	// deleteBatch is how many deletions one message carries. All of them may be
	// refused, and the refusals must fit the socket's receive buffer.
	deleteBatch = 128
)

// Conn is a ctnetlink connection to the network namespace it was opened in. It
// is for one goroutine at a time, and is to be closed after an error: what the
// kernel still had to say is not read.
type Conn struct {
	nl *netlink.Conn
}

// Dial opens a connection to the calling thread's network namespace. Listing
// and deleting need CAP_NET_ADMIN in the user namespace that owns it.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: readBuffer})
	if err != nil {
		return nil, fmt.Errorf("open the connection table: %w", unsupported(err, unix.EPROTONOSUPPORT))
	}
	// A refused deletion is answered with the request's header alone, not with all of it.
	if err := nl.SetOption(netlink.CapAcknowledge, true); err != nil {
		return nil, errors.Join(fmt.Errorf("open the connection table: %w", err), nl.Close())
	}
	return &Conn{nl: nl}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.nl.Close() }

// Count is how many entries the namespace has, including those of packets that
// are still on their way through the rules. It asks for a counter and walks
// nothing. The error matches [errors.ErrUnsupported] where the kernel has no
// ctnetlink.
func (c *Conn) Count() (int, error) {
	_, err := c.nl.Send(netlink.Message{
		Header: netlink.Header{Type: typeGetStats, Flags: netlink.Request},
		Data:   appendHeader(nil, unix.AF_UNSPEC),
	})
	count := uint32(0)
	if err == nil {
		count, err = c.receiveCount()
	}
	if err != nil {
		// The request has nothing in it that could be invalid but its type.
		return 0, fmt.Errorf("count the connection table: %w", unsupported(err, unix.EINVAL))
	}
	return int(count), nil
}

// receiveCount reads the one answer to the request for the counter by itself:
// the kernel marks it as the first of several, and no other ever comes.
func (c *Conn) receiveCount() (count uint32, err error) {
	raw, err := c.nl.SyscallConn()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 4096)
	var length int
	var received error
	err = raw.Read(func(fd uintptr) bool {
		length, _, received = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		return !errors.Is(received, unix.EAGAIN)
	})
	if err = errors.Join(err, received); err != nil {
		return 0, err
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:length])
	if err != nil || len(messages) != 1 {
		return 0, errors.Join(errMalformed, err)
	}
	body := messages[0].Data
	if len(body) < headerLen {
		return 0, errMalformed
	}
	if messages[0].Header.Type == unix.NLMSG_ERROR {
		return 0, unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
	}
	err = attributes(body[headerLen:], func(typ uint16, value []byte) (err error) {
		if typ == ctaStatsEntries {
			count, err = beUint32(value)
		}
		return err
	})
	return count, err
}

// Each lists the entries of both address families and calls fn for each until
// fn returns false or ctx ends. fn may keep the entry but must not use c. An
// entry that comes or goes during the listing may be missed.
func (c *Conn) Each(ctx context.Context, fn func(e *Entry) bool) error {
	return c.each(ctx, appendHeader(nil, unix.AF_UNSPEC), fn)
}

// EachMatching is [Conn.Each] for the entries that a filter lets through. The
// walk is as long, but what does not match costs a tenth.
func (c *Conn) EachMatching(ctx context.Context, f Filter, fn func(e *Entry) bool) error {
	return c.each(ctx, f.body(), func(e *Entry) bool { return !f.match(e) || fn(e) })
}

// each lists what the body of the request asks for.
func (c *Conn) each(ctx context.Context, request []byte, fn func(e *Entry) bool) error {
	_, err := c.nl.Send(netlink.Message{
		Header: netlink.Header{Type: typeGet, Flags: netlink.Request | netlink.Dump},
		Data:   request,
	})
	if err != nil {
		return fmt.Errorf("list the connection table: %w", err)
	}
	for m, err := range c.nl.ReceiveIter() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("list the connection table: %w", err)
		}
		e, err := parseEntry(m.Data)
		if err != nil {
			return fmt.Errorf("list the connection table: %w", err)
		}
		if !fn(&e) {
			return nil
		}
	}
	return nil
}

// Delete deletes entries, each only if it is still the one with its ID, and
// tells how many there were. An entry that is gone already is no error.
func (c *Conn) Delete(ctx context.Context, entries []Entry) (int, error) {
	deleted := 0
	for len(entries) > 0 {
		n := min(len(entries), deleteBatch)
		d, err := c.deleteBatch(entries[:n])
		deleted += d
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return deleted, fmt.Errorf("delete from the connection table: %w", err)
		}
		entries = entries[n:]
	}
	return deleted, nil
}

// deleteBatch deletes at most [deleteBatch] entries in one message. Only the
// last is acknowledged where all goes well.
func (c *Conn) deleteBatch(entries []Entry) (int, error) {
	batch := make([]netlink.Message, len(entries))
	for i := range entries {
		batch[i] = netlink.Message{
			Header: netlink.Header{Type: typeDelete, Flags: netlink.Request},
			Data:   entries[i].deletion(),
		}
	}
	last := &batch[len(batch)-1].Header
	last.Flags |= netlink.Acknowledge
	if _, err := c.nl.SendMessages(batch); err != nil {
		return 0, err
	}
	deleted := len(batch)
	for {
		_, err := c.nl.Receive()
		if err == nil {
			return deleted, nil
		}
		refused, ok := errors.AsType[*netlink.OpError](err)
		if !ok || !errors.Is(err, unix.ENOENT) {
			return 0, err
		}
		deleted--
		if refused.Sequence == last.Sequence {
			return deleted, nil
		}
	}
}

// DeleteFunc deletes the entries that match and tells how many. cover are
// filters of which every matching entry passes at least one: they are used, at
// one walk each, where that is quicker than to list everything once. An empty
// table is not walked at all.
func (c *Conn) DeleteFunc(ctx context.Context, cover []Filter, match func(e *Entry) bool) (int, error) {
	count, err := c.Count()
	if err != nil || count == 0 {
		return 0, err
	}
	var doomed []Entry
	collect := func(e *Entry) bool {
		if match(e) {
			doomed = append(doomed, *e)
		}
		return true
	}
	if !filtersPay(len(cover), count) {
		err = c.Each(ctx, collect)
		cover = nil
	}
	for _, f := range cover {
		err = errors.Join(err, c.EachMatching(ctx, f, collect))
	}
	if err != nil {
		return 0, err
	}
	return c.Delete(ctx, doomed)
}

// filtersPay tells whether so many filtered walks over a table of so many
// entries cost less than listing all of it once. Measured with the usual
// 262,144 buckets: a walk costs as much as 40,000 entries passed by, and an
// entry that is listed ten times more than one that is passed by.
func filtersPay(walks, entries int) bool {
	return walks > 0 && (walks-1)*(40_000+entries) < 10*entries
}

// unsupported makes err match [errors.ErrUnsupported] too if it is the answer
// of a kernel without ctnetlink.
func unsupported(err error, answer unix.Errno) error {
	if errors.Is(err, answer) {
		return fmt.Errorf("this kernel lacks nf_conntrack_netlink: %w (%w)", errors.ErrUnsupported, err)
	}
	return err
}
