// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"sync"
	"time"
)

// calm is how many plugs in one second leave what follows from their carriers to the kernel. It comes to a hundred links a second that
// are not urgent, and looks through all that wait each time that one is (MAX_DO_DEV_PER_LOOP in net/core/link_watch.c, Linux 4.19 to
// 6.18): of more, thousands come to wait, under the lock that every attach needs.
const calm = 64

// pace counts the plugs of the current second.
type pace struct {
	mu     sync.Mutex // guards the fields below
	second int64
	n      int
}

// hurried counts a plug, and tells whether there are too many for the kernel to follow by itself.
func (p *pace) hurried(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := now.Unix(); s != p.second {
		p.second, p.n = s, 0
	}
	p.n++
	return p.n > calm
}
