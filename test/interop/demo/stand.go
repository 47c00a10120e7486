// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// stand takes the place of a test: the place and the engines tell it what goes
// wrong. What they do not call of [testing.TB] is not there.
type stand struct {
	testing.TB

	log io.Writer

	mu     sync.Mutex // guards the rest
	now    func() context.Context
	errs   []error // of what is being tried
	failed bool
	ends   []func()
}

func newStand(ctx context.Context, log io.Writer) *stand {
	return &stand{log: log, now: func() context.Context { return ctx }}
}

// try calls fn, which ends early where it fails the stand, and gives what went
// wrong. Until then the context is that of the stand.
func (s *stand) try(ctx context.Context, fn func()) error {
	s.mu.Lock()
	before := s.now
	s.now, s.errs = func() context.Context { return ctx }, nil
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	<-done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = before
	return errors.Join(s.errs...)
}

// end does what is to be done at the end, the last first.
func (s *stand) end() error {
	s.mu.Lock()
	ends := s.ends
	s.ends, s.errs = nil, nil
	s.mu.Unlock()
	for _, fn := range slices.Backward(ends) {
		fn()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

// fail has the logs of what runs be shown at the end.
func (s *stand) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
}

func (s *stand) Helper() {}

func (s *stand) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *stand) Cleanup(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, fn)
}

func (s *stand) TempDir() string {
	dir, err := os.MkdirTemp("", "cnm-demo-docker-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			s.Errorf("%v", err)
		}
	})
	return dir
}

func (s *stand) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *stand) Logf(format string, args ...any) { fmt.Fprintf(s.log, format+"\n", args...) }

func (s *stand) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, fmt.Errorf(format, args...))
}

func (s *stand) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

func (s *stand) Fatal(args ...any) { s.Fatalf("%s", fmt.Sprint(args...)) }
