// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestSince(t *testing.T) {
	t.Parallel()
	before := Picture{"address a", "link 1", "link 2"}
	if got := before.Since(before); got != "" {
		t.Errorf("nothing has changed, and it says %q", got)
	}
	if got, want := (Picture{"link 1", "link 3"}).Since(before), "new: link 3\nlost: address a\nlost: link 2"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestHierarchy(t *testing.T) {
	t.Parallel()
	const mounts = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs none rw,mode=755\n" +
		"32 31 0:29 /outer /sys/fs/cgroup/cpu rw shared:9 - cgroup none rw,cpu,cpuacct\n" +
		"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup none rw,xattr,name=systemd\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n"
	for _, test := range []struct {
		controllers string
		root, point string
	}{
		{"cpu,cpuacct", "/outer", "/sys/fs/cgroup/cpu"},
		{"name=systemd", "/", "/sys/fs/cgroup/systemd"},
		{"memory", "", ""},
		{"", "/", "/sys/fs/cgroup/unified"},
	} {
		var controllers []string
		if test.controllers != "" {
			controllers = strings.Split(test.controllers, ",")
		}
		root, point, found := hierarchy(mounts, controllers)
		if root != test.root || point != test.point || found != (test.point != "") {
			t.Errorf("%q is %s of it on %s (%v), want %s on %s", test.controllers, root, point, found, test.root, test.point)
		}
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	j, done := newJournal(), make(chan struct{})
	go j.read(reader)
	for _, part := range []string{"one\nit is re", "ady now\nlast"} {
		if _, err := writer.WriteString(part); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if line, err := j.await(ctx, "ready", done); err != nil || line != "it is ready now" {
		t.Errorf("the line is %q (%v)", line, err)
	}
	close(done)
	writer.Close()
	if _, err := j.await(ctx, "never", done); err == nil || ctx.Err() != nil {
		t.Errorf("what was never said is awaited until %v, want the program's end", err)
	}
	if got := j.tail(1); got != "it is ready now\n" {
		t.Errorf("the last line is %q", got)
	}
}
