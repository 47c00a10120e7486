// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
)

// burst bounds what is read from one socket before the others have their turn.
const burst = 64

// splicer is the one loop over all held sockets. It takes what the firewall did
// not translate: it splices what came over loopback and refuses the rest.
//
// An epoll descriptor waits for all of them, and Go's own poller waits for that
// one: no thread is blocked. Sockets are known by numbers that are not used twice,
// because a descriptor's number can come again between the kernel's report and its
// handling.
type splicer struct {
	log         *slog.Logger
	maxStreams  int
	maxSessions int
	idle        time.Duration
	dialTimeout time.Duration

	epoll   *os.File
	raw     syscall.RawConn
	running sync.WaitGroup // the loop and the streams

	// mu guards what follows. It also keeps the descriptors of sources from being
	// closed while they are used: it is held across the calls on them, none of which
	// waits.
	mu       sync.Mutex
	sources  map[uint64]source
	numbers  map[*hold]uint64
	last     uint64
	streams  map[*hold]map[*stream]struct{}
	nstreams int
	sessions map[sessionKey]*session
	recent   *list.List // of *session, the one used last in front
	expiry   *time.Timer
	spare    int       // a descriptor to give up when no other is left
	shedding time.Time // when it was last told that none is left
	closed   bool
	buf      []byte
	oob      []byte
}

// source is a descriptor of the loop. ready is called with splicer.mu held when
// there is something to read.
type source interface{ ready(s *splicer) }

func newSplicer(cfg *Config) (*splicer, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go's poller takes it
		return nil, errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := &splicer{
		log: cfg.Log, maxStreams: cfg.Streams, maxSessions: cfg.Sessions, idle: cfg.Idle, dialTimeout: cfg.DialTimeout,
		epoll: file, raw: raw,
		sources:  make(map[uint64]source),
		numbers:  make(map[*hold]uint64),
		streams:  make(map[*hold]map[*stream]struct{}),
		sessions: make(map[sessionKey]*session),
		recent:   list.New(),
		buf:      make([]byte, 1<<16),
		oob:      make([]byte, 256),
	}
	if s.spare, err = openSpare(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s.expiry = time.AfterFunc(s.idle, s.expire)
	s.expiry.Stop()
	s.running.Go(s.loop)
	return s, nil
}

// openSpare opens something that costs nothing but a descriptor.
func openSpare() (int, error) { return unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0) }

// loop hands events to their sources until the epoll descriptor is closed.
func (s *splicer) loop() {
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		var failed error
		err := s.raw.Read(func(fd uintptr) bool {
			n, failed = unix.EpollWait(int(fd), events, 0)
			return n != 0
		})
		if err != nil {
			return // closed
		}
		if failed != nil {
			s.log.Error("the loop of held ports ended, loopback connections to them are no longer taken", "error", failed)
			return
		}
		for i := range max(n, 0) {
			s.dispatch(number(&events[i]))
		}
	}
}

// dispatch lets one source read.
func (s *splicer) dispatch(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if src, ok := s.sources[number]; ok {
		src.ready(s)
	}
}

// number is the source's number, in the 64 bits that the kernel keeps for us.
func number(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32 }

// watch enters a source under a new number. The caller holds s.mu.
func (s *splicer) watch(fd int, src source) (uint64, error) {
	if s.closed {
		return 0, fmt.Errorf("watch a socket: %w", os.ErrClosed)
	}
	s.last++
	if err := s.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, s.last); err != nil {
		return 0, fmt.Errorf("watch a socket: %w", err)
	}
	s.sources[s.last] = src
	return s.last, nil
}

// control tells the kernel what to report of a descriptor, and as which number.
func (s *splicer) control(op, fd int, events uint32, number uint64) error {
	event := unix.EpollEvent{Events: events, Fd: int32(uint32(number)), Pad: int32(uint32(number >> 32))}
	var failed error
	err := s.raw.Control(func(epoll uintptr) {
		failed = unix.EpollCtl(int(epoll), op, fd, &event)
	})
	return errors.Join(err, failed)
}

// arm changes what is reported of a hold that is served. The caller holds s.mu.
func (s *splicer) arm(hd *hold, events uint32) {
	number, ok := s.numbers[hd]
	if !ok {
		return
	}
	if err := s.control(unix.EPOLL_CTL_MOD, hd.fd, events, number); err != nil {
		s.log.Error("changing what is reported of a held port", "error", err)
	}
}

// add begins to serve a hold. It does nothing for one without a socket, or whose
// socket has nothing to say.
func (s *splicer) add(hd *hold) error {
	var src source
	switch {
	case hd.fd < 0 || hd.proto == cnm.SCTP:
		return nil
	case hd.proto == cnm.TCP:
		src = &listener{hold: hd}
	case !loopback(hd.addrs): // its filter lets nothing through
		return nil
	default:
		src = &receiver{hold: hd}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if hd.gone {
		return fmt.Errorf("watch a socket: %w", os.ErrClosed)
	}
	number, err := s.watch(hd.fd, src)
	if err == nil {
		s.numbers[hd] = number
	}
	return err
}

// drop ends the service of holds, cuts what is spliced through them and closes
// their sockets. It returns when all that is done, and may be repeated.
func (s *splicer) drop(holds []*hold) {
	var fds []int
	var cut []*stream
	s.mu.Lock()
	for _, hd := range holds {
		if hd.gone {
			continue
		}
		hd.gone = true
		if hd.fd >= 0 {
			fds = append(fds, hd.fd)
		}
		delete(s.sources, s.numbers[hd])
		delete(s.numbers, hd)
		for st := range s.streams[hd] {
			cut = append(cut, st)
		}
	}
	s.endSessions(func(ss *session) bool { return ss.key.hold.gone })
	s.mu.Unlock()
	for _, fd := range fds {
		// Nobody else knows the descriptor now. What was not accepted yet is reset.
		_ = unix.Close(fd)
	}
	end(cut)
}

// recheck cuts what is spliced through holds to where they no longer lead.
func (s *splicer) recheck(holds []*hold) {
	var cut []*stream
	s.mu.Lock()
	for _, hd := range holds {
		for st := range s.streams[hd] {
			if hd.route.Load().to(st.local) != st.to {
				cut = append(cut, st)
			}
		}
	}
	s.endSessions(func(ss *session) bool { return ss.key.hold.route.Load().to(ss.key.local) != ss.to })
	s.mu.Unlock()
	end(cut)
}

// usage fills in the splice's part.
func (s *splicer) usage(u *Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Streams, u.MaxStreams = s.nstreams, s.maxStreams
	u.Sessions, u.MaxSessions = len(s.sessions), s.maxSessions
}

// close ends the loop, and every stream and session.
func (s *splicer) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	clear(s.sources)
	clear(s.numbers)
	s.endSessions(func(*session) bool { return true })
	s.expiry.Stop()
	_ = unix.Close(s.spare)
	var cut []*stream
	for _, list := range s.streams {
		for st := range list {
			cut = append(cut, st)
		}
	}
	s.mu.Unlock()
	end(cut)
	if err := s.epoll.Close(); err != nil {
		s.log.Warn("closing the loop of held ports", "error", err)
	}
	s.running.Wait()
}
