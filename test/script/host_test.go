// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	klink "github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// host is what a script has: a host of its own with a daemon.
type host struct {
	t      *testing.T
	daemon daemon
	noted  state  // at audit begin
	last   state  // after the last fail
	seen   *lines // events since watch
	ended  func() // ends watch
}

func (h *host) socket() string { return filepath.Join(h.daemon.dir, "cnm.sock") }

// watch notes events from now on.
func (h *host) watch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 || neg {
		ts.Fatalf("usage: watch")
	}
	if h.ended != nil {
		h.ended()
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := client.New(h.socket(), 0)
	events, err := c.Events(ctx)
	if err != nil {
		cancel()
		ts.Fatalf("watch: %v", err)
	}
	seen := &lines{more: make(chan struct{})}
	seen.reader.Go(func() {
		for e, err := range events {
			if err != nil {
				break // the daemon has ended
			}
			seen.add(eventLine(&e))
		}
		seen.end()
	})
	h.seen, h.ended = seen, func() { cancel(); seen.reader.Wait(); c.Close() }
}

func eventLine(e *wire.Event) string { return e.Object + " " + e.Action + " " + e.Name + "\n" }

// await waits for an event since watch: `await endpoint leave net/box`.
func (h *host) await(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg || h.seen == nil {
		ts.Fatalf("usage, after watch: await OBJECT ACTION NAME")
	}
	ts.Check(h.seen.await(strings.Join(args, " ") + "\n"))
}

// link makes a bridge with addresses and routes on the host, until the script ends: `link tun0 10.9.0.1/24 via 10.0.0.0/8`.
func (h *host) link(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg {
		ts.Fatalf("usage: link NAME [ADDRESS/BITS...] [via PREFIX...]")
	}
	kerneltest.Clear(h.t, args[0])
	conn, err := klink.Dial(klink.Here)
	ts.Check(err)
	defer conn.Close()
	var b klink.Batch
	b.CreateBridge(klink.Bridge{Name: args[0]})
	// Without an address of the kernel's own, which would come later.
	b.SetLink(klink.Change{Link: klink.Named(args[0]), AddrGenMode: klink.AddrGenNone, Up: klink.On})
	ts.Check(conn.Do(&b))
	made, err := conn.Link(klink.Named(args[0]))
	ts.Check(err)
	b, route := klink.Batch{}, false
	for _, text := range args[1:] {
		if text == "via" {
			route = true
			continue
		}
		p, err := netip.ParsePrefix(text)
		ts.Check(err)
		if route {
			b.AddRoute(klink.Route{Dst: p, Link: made.Index})
		} else {
			b.AddAddress(klink.Address{Link: made.Index, Prefix: p, NoDAD: true})
		}
	}
	ts.Check(conn.Do(&b))
}

// netns is `netns make PATH`, a network namespace that another program would make, and `netns remove PATH`, its end.
func (h *host) netns(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: netns make|remove PATH")
	}
	path := ts.MkAbs(args[1])
	switch args[0] {
	case "make":
		_, err := netns.Make(path, nil)
		ts.Check(err)
	case "remove":
		ts.Check(netns.Unpin(path))
	default:
		ts.Fatalf("unknown: netns %s", args[0])
	}
}

// disk is `disk readonly DIR`, `disk writable DIR`, `disk alter FILE OLD NEW`, which writes over each OLD in the file that a
// pattern names, and `disk forget` and `disk remember`, which lose the records of this boot and put them back.
func (h *host) disk(ts *testscript.TestScript, neg bool, args []string) {
	switch verb := strings.Join(args[:min(1, len(args))], ""); {
	case neg:
		ts.Fatalf("unsupported: ! disk")
	case verb == "readonly" && len(args) == 2:
		dir := ts.MkAbs(args[1])
		ts.Check(unix.Mount(dir, dir, "", unix.MS_BIND, ""))
		ts.Check(unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	case verb == "writable" && len(args) == 2:
		ts.Check(unix.Unmount(ts.MkAbs(args[1]), unix.MNT_DETACH))
	case verb == "alter" && len(args) == 4 && len(args[2]) == len(args[3]):
		ts.Check(alter(only(ts, args[1]), args[2], args[3]))
	case verb == "forget" && len(args) == 1:
		ts.Check(os.Rename(only(ts, bootFile), ts.MkAbs("forgotten")))
	case verb == "remember" && len(args) == 1:
		ts.Check(os.Rename(ts.MkAbs("forgotten"), only(ts, bootFile)))
	default:
		ts.Fatalf("usage: disk readonly DIR | writable DIR | alter FILE OLD NEW | forget | remember")
	}
}

// bootFile has the records of this boot.
const bootFile = "run/boot-*.db"

// only is the one file of a pattern.
func only(ts *testscript.TestScript, pattern string) string {
	files, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("%s is %q, want one file", pattern, files)
	}
	return files[0]
}

func alter(path, old, to string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	altered := bytes.ReplaceAll(data, []byte(old), []byte(to))
	if bytes.Equal(data, altered) {
		return fmt.Errorf("%s has no %q", path, old)
	}
	return os.WriteFile(path, altered, 0o600)
}

// alike makes endpoints on a network until two have IDs that begin alike, and sets $ALIKE to that beginning:
// `alike NETWORK`.
func (h *host) alike(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: alike NETWORK")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := client.New(h.socket(), patience)
	defer c.Close()
	const digits = 4
	names := map[string]string{}
	for i := 0; ; i++ {
		ep, err := c.CreateEndpoint(ctx, wire.EndpointCreate{Network: args[0], Name: fmt.Sprint("alike-", i)})
		ts.Check(err)
		begin := string(ep.ID[:digits])
		if names[begin] != "" {
			ts.Setenv("ALIKE", begin)
			return
		}
		names[begin] = ep.Name
	}
}
