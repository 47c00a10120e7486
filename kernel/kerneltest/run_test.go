// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"net"
	"os"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	Run(t, func(t *testing.T) {
		links, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		if len(links) != 1 || links[0].Name != "lo" || links[0].Flags&net.FlagUp == 0 {
			t.Errorf("links %v, want only lo, up", links)
		}
		entries, err := os.ReadDir("/run")
		if err != nil || len(entries) != 0 {
			t.Errorf("/run has %v (%v), want it empty", entries, err)
		}
		t.Run("sub", func(t *testing.T) { t.Log("in sub") })
		t.Run("sub", func(t *testing.T) { t.Skip("not wanted") })
		t.Run("a b/c", func(t *testing.T) { t.Run("d", func(t *testing.T) {}) })
	})
}

func TestFail(t *testing.T) { t.Parallel(); Run(t, func(t *testing.T) { t.Run("x", func(t *testing.T) { t.Error("oops") }) }) }
func TestSkip(t *testing.T) { t.Parallel(); Run(t, func(t *testing.T) { t.Skip("feature xyz") }) }
func TestPanic(t *testing.T) { t.Parallel(); Run(t, func(t *testing.T) { panic("aah") }) }
func TestFd(t *testing.T) { t.Parallel(); Run(t, func(t *testing.T) { net.Listen("tcp", "127.0.0.1:0") }) }
func TestHang(t *testing.T) { t.Parallel(); Run(t, func(t *testing.T) { select{} }) }
