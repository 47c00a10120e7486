// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/libnetwork/cnm/internal/daemon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNotify tells a service manager, where there is one.
func TestNotify(t *testing.T) {
	t.Parallel()
	if err := daemon.Notify(t.Context(), ""); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	if err := daemon.Notify(t.Context(), path); err == nil {
		t.Error("nobody listens, and that is no error")
	}
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := daemon.Notify(t.Context(), path); err != nil {
		t.Error(err)
	}
	said := make([]byte, 64)
	if n, err := ln.Read(said); err != nil || string(said[:n]) != "READY=1" {
		t.Errorf("it was told %q, %v", said[:n], err)
	}
}
