// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/internal/audit"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/store/bolt"
)

// end compares what the script left with the records, deletes it, and ends the daemon. Where a failed script left a daemon that
// does not answer, it is killed, and what stays mounted unmounted.
func (h *host) end() {
	if h.ended != nil {
		h.ended()
	}
	if h.daemon.log != nil && !h.t.Failed() {
		if err := errors.Join(h.check(), h.clear()); err != nil {
			h.t.Errorf("at the end of the script: %v", err)
		}
	}
	if h.daemon.cmd != nil {
		_ = h.daemon.signal(unix.SIGKILL)
	}
	mounts, _ := os.ReadFile("/proc/self/mounts") // what stays mounted is told as a leak
	for _, line := range slices.Backward(strings.Split(string(mounts), "\n")) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], h.daemon.dir+"/") {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
}

// check kills the daemon if it lives, compares the kernel with the records on the disk, and starts the daemon once more.
func (h *host) check() error {
	ctx := context.Background()
	if h.daemon.cmd != nil {
		if err := h.daemon.signal(unix.SIGKILL); err != nil {
			return err
		}
	}
	r, err := h.stored(ctx)
	if err != nil {
		return err
	}
	found := audit.Check(ctx, r, audit.Scope{RunDir: filepath.Join(h.daemon.dir, "run"), PID: -1})
	if len(found) > 0 {
		return fmt.Errorf("the host is not as the records say:\n%s", strings.Join(found, "\n"))
	}
	return h.daemon.launch(h.daemon.flags)
}

// stored reads the records of a daemon that has ended.
func (h *host) stored(ctx context.Context) (cnm.Records, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return cnm.Records{}, err
	}
	cookie, err := netns.CookieHere()
	if err != nil {
		return cnm.Records{}, err
	}
	s, err := bolt.Open(bolt.Config{
		StateDir: filepath.Join(h.daemon.dir, "state"), RunDir: filepath.Join(h.daemon.dir, "run"),
		BootID: strings.TrimSpace(string(boot)), HostCookie: uint64(cookie), Version: "cnm test",
	})
	if err != nil {
		return cnm.Records{}, err
	}
	r, err := s.Load(ctx)
	return r, errors.Join(err, s.Close())
}

// clear deletes everything, and waits until it is gone.
func (h *host) clear() error {
	if h.daemon.cmd == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := client.New(h.socket(), patience)
	defer c.Close()
	sandboxes, err := c.Sandboxes(ctx)
	for _, sb := range sandboxes {
		err = errors.Join(err, c.DeleteSandbox(ctx, string(sb.ID)))
	}
	networks, err2 := c.Networks(ctx)
	err = errors.Join(err, err2)
	for _, nw := range networks {
		err = errors.Join(err, c.DeleteNetwork(ctx, string(nw.ID), true))
	}
	return errors.Join(err, audit.WaitQuiet(ctx, audit.Picture{Namespaces: math.MaxInt}))
}
