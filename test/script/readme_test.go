// SPDX-License-Identifier: Apache-2.0

package script

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestReadme runs the page of use in the README, all its blocks of shell as one script. Only the build is left out: it is
// the programs of this test.
func TestReadme(t *testing.T) {
	t.Parallel()
	noteSources(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := shellBlocks(string(text))
	if !strings.Contains(page, "cnm run") || !strings.Contains(page, "make build\n") {
		t.Fatalf("the README has no page of use:\n%s", page)
	}
	page = strings.Replace(page, "make build\n", "", 1)
	// The daemon answers when its socket is there; a person would have typed the next line by then.
	page = strings.Replace(page, "/cnm.sock\"\n", "/cnm.sock\"\nready\n", 1)
	kerneltest.Run(t, func(t *testing.T) { runPage(t, page) })
}

func runPage(t *testing.T, page string) {
	t.Helper()
	kerneltest.Clear(t, "cnm") // the firewall's tables outlive a daemon
	adoptOrphans(t)
	dir := t.TempDir()
	if err := os.Symlink(os.Getenv(binaries), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	prelude := "set -eux\ntrap 'kill $daemon; wait $daemon' EXIT\nready() { daemon=$!; until bin/cnm network ls >/dev/null 2>&1; do kill -0 $daemon; done; }\n"
	cmd := exec.CommandContext(t.Context(), "sh", "-c", prelude+page)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "\nhello, "); got < 3 {
		t.Errorf("the server was heard %d times, want 3 and more:\n%s", got, out)
	}
}

// shellBlocks are the ```sh blocks of a page.
func shellBlocks(text string) string {
	var page strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```sh"):
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside:
			page.WriteString(line)
		}
	}
	return page.String()
}
