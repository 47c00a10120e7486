// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

// A spliced connection needs two sockets and a pipe in each direction.
const fdsPerStream = 6

// most is the number above which no share of the limit need be computed: there
// are 65,535 ports, and few protocols and addresses.
const most = 1 << 20

// raiseLimit raises the limit of open files to the hard one and gives it.
func raiseLimit() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	// Go raises it when the program starts, and gives children the old limit back
	// unless it is set again: so it is left alone where nothing is to be gained.
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return 0, fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
		}
	}
	return int(min(limit.Max, most)), nil
}

// within gives the configuration with defaults that fit a limit of open files.
func (c Config) within(limit int) Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Streams <= 0 {
		c.Streams = max(1, min(limit/32, 512))
	}
	if c.Sessions <= 0 {
		c.Sessions = max(1, min(limit/16, 1024))
	}
	if c.Idle <= 0 {
		c.Idle = 90 * time.Second
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = 5 * time.Second
	}
	if c.Budget <= 0 {
		others := min(limit/8, 1024)
		c.Budget = max(1, limit-others-fdsPerStream*c.Streams-c.Sessions)
	}
	return c
}
