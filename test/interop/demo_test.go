// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/table"
)

// performance bounds one run of the demo in a test.
const performance = 4 * time.Minute

// The demo passes with each generation of Docker, and each of its rows fails without its mechanism.
func TestDemo(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	if words, err := exec.CommandContext(t.Context(), "go", "build", "-o", demo, "./demo").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, words)
	}
	table.Try(t, table.Program{Args: []string{demo}, Limit: performance})
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		table.TryWhole(t, table.Program{Args: []string{demo, "-docker", string(engine.Debian)}, Limit: performance})
	})
}
