// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libnetwork/cnm"
)

// Config configures a [Holder]. Zero fields have defaults.
type Config struct {
	// Log hears of what no caller is told; nil: nobody does.
	Log *slog.Logger
	// Quarantine keeps freed ports from other owners; nil: they are free at once.
	Quarantine cnm.Quarantine
	// Budget bounds the descriptors of held ports. 0: what the process's hard limit
	// of open files leaves beside the splice and the rest of the program.
	Budget int
	// Streams bounds the TCP connections spliced at once, Sessions the UDP clients.
	// 0: a share of the hard limit, at most 512 and 1,024.
	Streams, Sessions int
	// Idle is how long a UDP client that is silent is remembered; 0: 90 seconds.
	Idle time.Duration
	// DialTimeout bounds the connection to an endpoint; 0: 5 seconds.
	DialTimeout time.Duration
}

// Holder holds host ports in the network namespace that the process is in. Its
// methods may be called concurrently, but not for one owner at once.
type Holder struct {
	log        *slog.Logger
	quarantine cnm.Quarantine
	budget     int
	splice     *splicer

	mu     sync.Mutex // guards table and the promises of its holds; never held across a system call
	table  table
	closed bool
}

// New makes a holder and starts its loop. It raises the process's limit of open
// files to the hard one.
func New(cfg Config) (*Holder, error) {
	limit, err := raiseLimit()
	if err != nil {
		return nil, err
	}
	cfg = cfg.within(limit)
	splice, err := newSplicer(&cfg)
	if err != nil {
		return nil, fmt.Errorf("start the loop of held ports: %w", err)
	}
	return &Holder{
		log:        cfg.Log,
		quarantine: cfg.Quarantine,
		budget:     cfg.Budget,
		splice:     splice,
		table:      newTable(),
	}, nil
}

// Close lets go of every port and ends the loop and all that it splices. The
// holder cannot be used afterwards.
func (h *Holder) Close() {
	h.mu.Lock()
	h.closed = true
	var all []*hold
	for _, list := range h.table.holds {
		all = append(all, list...)
	}
	h.table = newTable()
	h.mu.Unlock()
	h.splice.drop(all)
	h.splice.close()
}

// Holding is one held port.
type Holding struct {
	Owner, Name string
	Port        cnm.Port
	FD          int // the socket; ports of one number may share it. -1: only noted, the kernel has no such sockets
}

// Held lists what is held, by owner and port.
func (h *Holder) Held() []Holding {
	h.mu.Lock()
	var list []Holding
	for _, holds := range h.table.holds {
		for _, hd := range holds {
			for _, p := range hd.ports {
				list = append(list, Holding{Owner: hd.owner, Name: hd.name, Port: p, FD: hd.fd})
			}
		}
	}
	h.mu.Unlock()
	slices.SortFunc(list, func(a, b Holding) int {
		return cmp.Or(
			cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Port.HostPort, b.Port.HostPort),
			cmp.Compare(a.Port.Proto, b.Port.Proto), a.Port.HostIP.Compare(b.Port.HostIP),
			cmp.Compare(a.Port.Port, b.Port.Port))
	})
	return list
}

// Usage is how much of the budgets is used.
type Usage struct {
	Sockets, Budget       int // descriptors of held ports
	Streams, MaxStreams   int // TCP connections spliced now
	Sessions, MaxSessions int // UDP clients remembered now
}

// Usage tells how much of the budgets is used.
func (h *Holder) Usage() Usage {
	h.mu.Lock()
	u := Usage{Sockets: h.table.fds, Budget: h.budget}
	h.mu.Unlock()
	h.splice.usage(&u)
	return u
}
