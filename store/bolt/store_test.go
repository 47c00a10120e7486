// SPDX-License-Identifier: Apache-2.0

package bolt_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/store/bolt"
	"github.com/libnetwork/cnm/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, newSubject())
}

// newSubject makes stores in directories of their own, and remembers each one's configuration.
func newSubject() storetest.Subject {
	var known sync.Map
	open := func(t testing.TB, c bolt.Config) cnm.Store {
		t.Helper()
		s, err := bolt.Open(c)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		known.Store(s, c)
		return s
	}
	again := func(t testing.TB, s cnm.Store, change func(*bolt.Config)) cnm.Store {
		t.Helper()
		value, _ := known.Load(s)
		c, ok := value.(bolt.Config)
		if !ok {
			t.Fatal("reopening a store that was not opened here")
		}
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		change(&c)
		return open(t, c)
	}
	return storetest.Subject{
		Open: func(t testing.TB) cnm.Store { return open(t, newConfig(t)) },
		Reopen: func(t testing.TB, s cnm.Store) cnm.Store {
			return again(t, s, func(*bolt.Config) {})
		},
		Reboot: func(t testing.TB, s cnm.Store) cnm.Store {
			return again(t, s, func(c *bolt.Config) { c.BootID = nextBoot(c.BootID) })
		},
	}
}

// newConfig is a store in two new directories.
func newConfig(t testing.TB) bolt.Config {
	return bolt.Config{StateDir: t.TempDir(), RunDir: t.TempDir(), BootID: nextBoot(""), HostCookie: 0x1001, Version: "cnm test"}
}

// nextBoot is another boot identifier after each.
func nextBoot(id string) string {
	var n int
	_, _ = fmt.Sscanf(id, "00000000-0000-4000-8000-%012x", &n) // none: the first one
	return fmt.Sprintf("00000000-0000-4000-8000-%012x", n+1)
}
