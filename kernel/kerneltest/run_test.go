// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

func TestRunIsolates(t *testing.T) {
	t.Parallel()
	Run(t, func(t *testing.T) {
		links, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		if len(links) != 1 || links[0].Name != "lo" || links[0].Flags&net.FlagUp == 0 {
			t.Errorf("links %v, want only lo, up", links)
		}
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			listener, err := net.Listen("tcp", address)
			if err != nil {
				t.Errorf("listen on %s: %v", address, err)
				continue
			}
			if err := listener.Close(); err != nil {
				t.Error(err)
			}
		}
		if uid := os.Geteuid(); uid != 0 {
			t.Errorf("uid %d, want 0", uid)
		}
		entries, err := os.ReadDir("/run")
		if err != nil || len(entries) != 0 {
			t.Errorf("/run has %v (%v), want it empty", entries, err)
		}
	})
}

func TestRunInSubtests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain", "with space", "a/b", "[odd]|(name)", "plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Run(t, func(t *testing.T) {
				if os.Getenv(marker) != t.Name() {
					t.Errorf("process of %q runs %q", os.Getenv(marker), t.Name())
				}
			})
		})
	}
}

func TestNamespacesDiffer(t *testing.T) {
	t.Parallel()
	Run(t, func(t *testing.T) {
		own, err := NewNS(t).Cookie()
		if err != nil {
			t.Fatal(err)
		}
		other := NewNS(t)
		InNS(t, other, func() {
			links, err := net.Interfaces()
			if err != nil || len(links) != 1 || links[0].Flags&net.FlagUp != 0 {
				t.Fatalf("links %v (%v), want only lo, down", links, err)
			}
		})
		if cookie, err := other.Cookie(); err != nil || cookie == own {
			t.Errorf("cookie %v (%v), want another than %v", cookie, err, own)
		}
	})
}

// scenarios are tests that end badly, or in a way of their own.
func scenarios() map[string]func(t *testing.T) {
	return map[string]func(t *testing.T){
		"pass":    func(*testing.T) {},
		"fails":   func(t *testing.T) { t.Run("inner", func(t *testing.T) { t.Error("as meant") }) },
		"skips":   func(t *testing.T) { t.Skip("needs a flux capacitor") },
		"panics":  func(*testing.T) { panic("as meant") },
		"exits":   func(*testing.T) { os.Exit(0) },
		"hangs":   func(*testing.T) { select {} },
		"forges":  func(t *testing.T) { fmt.Print("--- PASS: " + t.Name() + " (0.00s)\n"); t.FailNow() },
		"nested":  func(t *testing.T) { t.Run("inner", func(t *testing.T) { Run(t, func(*testing.T) {}) }) },
		"goexits": func(t *testing.T) { InNS(t, NewNS(t), func() { t.Fatal("inside of a namespace") }) },
		"leaks a descriptor": func(t *testing.T) {
			if _, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0); err != nil {
				t.Error(err)
			}
		},
		"leaks a goroutine": func(*testing.T) { go func() { select {} }() },
		"leaks a mount": func(t *testing.T) {
			if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
				t.Error(err)
			}
		},
		"leaks a link": func(t *testing.T) { makeThings(t) },
		"clears": func(t *testing.T) {
			Clear(t)
			makeThings(t)
		},
		"clears some": func(t *testing.T) {
			Clear(t, "br0", "theirs")
			makeThings(t)
		},
		"leaks a thread": func(t *testing.T) {
			done := make(chan error)
			go func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				done <- unix.Unshare(unix.CLONE_NEWNET)
			}()
			if err := <-done; err != nil {
				t.Error(err)
			}
		},
	}
}

// makeThings makes two bridges and a table.
func makeThings(t *testing.T) {
	for _, things := range []leak{
		batch(func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0"})
			b.CreateBridge(link.Bridge{Name: "br1", MAC: link.MAC{2, 0, 0, 0, 0, 2}})
		}, nil),
		leaksOfProcesses(t)["table bridge theirs"],
	} {
		if _, err := things(); err != nil {
			t.Error(err)
		}
	}
}

// TestScenario has the scenarios as subtests, but only in a process that was
// started for one of them.
func TestScenario(t *testing.T) {
	t.Parallel()
	for name, fn := range scenarios() {
		if os.Getenv(marker) != "" {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, 100*time.Millisecond, fn)
			})
		}
	}
}

// TestEnds runs each scenario and looks at how it ended.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, result, text string }{
		{"pass", "PASS", ""},
		{"fails", "FAIL", "as meant"},
		{"skips", "SKIP", "needs a flux capacitor"},
		{"panics", "FAIL", "panic: as meant"},
		{"exits", "FAIL", "unexpected call to os.Exit(0)"},
		{"hangs", "", "test timed out after"},
		{"forges", "FAIL", ""},
		{"nested", "FAIL", "it is isolated already"},
		{"goexits", "FAIL", "inside of a namespace"},
		{"leaks a descriptor", "FAIL", "is socket:["},
		{"leaks a goroutine", "FAIL", "select (no cases)"},
		{"leaks a mount", "FAIL", "leak: mount /run (tmpfs tmpfs"},
		{"leaks a link", "FAIL", `leak: link br1, "bridge", up false`},
		{"clears", "PASS", ""},
		{"clears some", "FAIL", `leak: forwarding entry 02:00:00:00:00:02 on br1`},
		{"leaks a thread", "FAIL", "leak: thread /proc/self/task/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			name := "TestScenario/" + strings.ReplaceAll(test.name, " ", "_")
			limit := time.Minute
			if test.name == "hangs" {
				limit = time.Second
			}
			output, err := isolated(t.Context(), name, testArgs(name, limit, ""), 0)
			out := parseOutput(output)
			if got := out.result(name); got != test.result {
				t.Errorf("result %q, want %q", got, test.result)
			}
			if good := test.result == "PASS" || test.result == "SKIP"; good != (err == nil) {
				t.Errorf("ended with %v", err)
			}
			if !strings.Contains(out.text, test.text) {
				t.Errorf("output does not have %q:\n%s", test.text, out.text)
			}
		})
	}
}

func TestIsolatedIsBounded(t *testing.T) {
	t.Parallel()
	name := "TestScenario/hangs"
	begin := time.Now()
	_, err := isolated(t.Context(), name, testArgs(name, 0, ""), 100*time.Millisecond)
	if err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("a hanging process ended with %v after %v, want an error at its limit", err, time.Since(begin))
	}
}

func BenchmarkStage(b *testing.B) {
	Bench(b, func(b *testing.B) {
		for b.Loop() {
			if _, err := takeInventory(settle); err != nil {
				b.Fatal(err)
			}
		}
	})
}
