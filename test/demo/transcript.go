// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
)

// transcript keeps what a program prints, line by line, and wakes who waits for a line. It is safe for concurrent use.
type transcript struct {
	mu      sync.Mutex // guards the rest
	lines   []string
	partial []byte
	grown   chan struct{} // closed when a line is added, and then replaced
	ended   bool
}

func newTranscript() *transcript { return &transcript{grown: make(chan struct{})} }

// Write adds what was printed. It never fails.
func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partial = append(t.partial, b...)
	for {
		line, rest, found := bytes.Cut(t.partial, []byte("\n"))
		if !found {
			return len(b), nil
		}
		t.lines = append(t.lines, string(line))
		t.partial = rest
		t.wake()
	}
}

// end says that nothing more will come.
func (t *transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.wake()
}

// wake must be called with the lock held.
func (t *transcript) wake() {
	close(t.grown)
	t.grown = make(chan struct{})
}

// await waits for a line, from the given one on, that is as wanted, and gives it.
func (t *transcript) await(ctx context.Context, from int, wanted func(line string) bool) (string, error) {
	for {
		t.mu.Lock()
		fresh, grown, ended := t.lines[min(from, len(t.lines)):], t.grown, t.ended
		t.mu.Unlock()
		for _, line := range fresh {
			if wanted(line) {
				return line, nil
			}
		}
		if ended {
			return "", fmt.Errorf("the program ended; it said: %s", t.tail(5))
		}
		from += len(fresh)
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w; the program said: %s", context.Cause(ctx), t.tail(5))
		case <-grown:
		}
	}
}

// tail is the last n lines, each with its end.
func (t *transcript) tail(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, line := range t.lines[max(0, len(t.lines)-n):] {
		b.WriteString(line + "\n")
	}
	return b.String()
}
