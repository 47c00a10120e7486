// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/internal/audit"
)

// state is all that a command which fails must leave as it was.
type state struct {
	pid     int    // the daemon's; 0 while none runs
	records string // what the daemon lists
	picture audit.Picture
	files   map[string][sha256.Size]byte // while no daemon runs
}

// fail runs a command that must fail with a status and say exactly one thing, and must change nothing:
// `fail 5 'mtu 1 is outside 68 to 65535; ...' cnm network create n --mtu 1`. In the text, `...` stands for anything and
// $WORK for the script's directory.
func (h *host) fail(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: fail STATUS TEXT COMMAND [ARG...]")
	}
	before := h.now(ts)
	got := exitStatus(ts, args[2:])
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("it printed on standard output:\n%s", out)
	}
	said := strings.ReplaceAll(ts.ReadFile("stderr"), h.daemon.dir, "$WORK")
	if !like("cnm: "+args[1]+"\n", said) {
		ts.Fatalf("it said\n%swant\ncnm: %s", said, args[1])
	}
	h.same(ts, before)
}

// now is the state, which is the one seen last where no record has changed since.
func (h *host) now(ts *testscript.TestScript) state {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if h.daemon.cmd != nil && h.last.pid == h.daemon.cmd.Process.Pid {
		now, err := records(ctx, h.socket())
		ts.Check(err)
		if now == h.last.records {
			return h.last
		}
	}
	return h.state(ts)
}

// like compares a text with a pattern in which "..." stands for anything.
func like(pattern, text string) bool {
	parts := strings.Split(pattern, "...")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, p := range parts[1:last] {
		at := strings.Index(rest, p)
		if at < 0 {
			return false
		}
		rest = rest[at+len(p):]
	}
	return strings.HasSuffix(rest, parts[last])
}

// same fails the script where the state is not as it was.
func (h *host) same(ts *testscript.TestScript, before state) {
	after := h.state(ts)
	if after.pid != 0 && before.pid != 0 && after.records != before.records {
		ts.Fatalf("the records have changed from\n%s\nto\n%s", before.records, after.records)
	}
	if diff := after.picture.Diff(before.picture); len(diff) > 0 {
		ts.Fatalf("the host has changed:\n%s", strings.Join(diff, "\n"))
	}
	for path, sum := range before.files {
		if after.pid == 0 && after.files[path] != sum {
			ts.Fatalf("%s has changed", path)
		}
	}
	h.last = after
}

// state waits until what is on its way out is gone, and looks.
func (h *host) state(ts *testscript.TestScript) state {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// A sandbox is joined to the host by its first link, and stays so when that is gone: any number of them will do.
	ts.Check(audit.WaitQuiet(ctx, audit.Picture{Namespaces: math.MaxInt}))
	var s state
	var err error
	scope := audit.Scope{RunDir: filepath.Join(h.daemon.dir, "run"), PID: -1, Alone: true}
	if h.daemon.cmd == nil {
		s.files, err = h.files()
	} else {
		s.pid = h.daemon.cmd.Process.Pid
		scope.PID = s.pid
		s.records, err = records(ctx, h.socket())
	}
	ts.Check(err)
	s.picture, err = audit.Take(ctx, scope)
	ts.Check(err)
	s.picture.Lines = settled(s.picture.Lines)
	return s
}

// settled are the lines of a picture without what the kernel does by itself, and a moment later: routes that follow from an
// address, a bridge's carrier that follows from its ports, and namespaces that stay joined when the link is gone that joined them.
func settled(lines []string) []string {
	var out []string
	for _, line := range lines {
		if strings.HasPrefix(line, "route ") && strings.Contains(line, " protocol 2 ") || strings.HasPrefix(line, "namespaces joined") {
			continue
		}
		out = append(out, strings.TrimSuffix(line, ", running"))
	}
	return out
}

// records is everything that the daemon lists.
func records(ctx context.Context, socket string) (string, error) {
	c := client.New(socket, patience)
	defer c.Close()
	networks, err := c.Networks(ctx)
	if err != nil {
		return "", err
	}
	sandboxes, err := c.Sandboxes(ctx)
	if err != nil {
		return "", err
	}
	endpoints, err := c.Endpoints(ctx)
	if err != nil {
		return "", err
	}
	text, err := json.MarshalIndent([]any{networks, sandboxes, endpoints}, "", " ")
	return string(text), err
}

// files are the sums of all files in the script's directory.
func (h *host) files() (map[string][sha256.Size]byte, error) {
	sums := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(h.daemon.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || filepath.Base(filepath.Dir(path)) == "netns" {
			return err
		}
		data, err := os.ReadFile(path)
		sums[path] = sha256.Sum256(data)
		return err
	})
	return sums, err
}

// audit is `audit begin`, which notes what is on the host (after something but the daemon has changed it, too), and `audit end`, which fails where anything else is there now.
func (h *host) audit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || !slices.Contains([]string{"begin", "end"}, strings.Join(args, " ")) {
		ts.Fatalf("usage: audit begin | end")
	}
	if args[0] == "begin" {
		h.noted = h.state(ts)
		h.last = h.noted
		return
	}
	h.same(ts, h.noted)
}
