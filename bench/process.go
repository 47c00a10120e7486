// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// daemonProcess is the daemon as a process of its own, in a host of its own that outlives it.
type daemonProcess struct {
	dir    string
	ns     *netns.NS
	conn   *link.Conn
	client *client.Client
	cmd    *exec.Cmd
	stdin  io.WriteCloser // its end ends the daemon
	out    io.ReadCloser
	made   int
	live   []string // sandboxes
}

// newDaemonProcess starts one with its networks.
func newDaemonProcess(ctx context.Context, dir string) (*daemonProcess, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	d := &daemonProcess{dir: dir, ns: ns, client: client.New(daemonConfig(dir).Socket, time.Minute)}
	if d.conn, err = link.Dial(ns.Fd()); err == nil {
		err = d.conn.RaiseLoopback()
	}
	if err == nil {
		_, err = d.start(ctx)
	}
	for i := range networks {
		if err == nil {
			_, err = d.client.CreateNetwork(ctx, wireNetwork(i))
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// start starts the process and tells how long it took from exec until it was ready.
func (d *daemonProcess) start(ctx context.Context) (time.Duration, error) {
	cmd, err := reexec(ctx, roleDaemon, d.dir)
	if err != nil {
		return 0, err
	}
	if d.stdin, err = cmd.StdinPipe(); err != nil {
		return 0, err
	}
	if d.out, err = cmd.StdoutPipe(); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := d.ns.Do(cmd.Start); err != nil { // a process is born in the namespace of the thread that starts it
		return 0, fmt.Errorf("start the daemon: %w", err)
	}
	d.cmd = cmd
	if _, err := io.ReadFull(d.out, make([]byte, len(readyWord))); err != nil {
		return 0, errors.Join(fmt.Errorf("the daemon did not come up: %w", err), d.kill())
	}
	return time.Since(start), nil
}

// kill ends the process as a crash would.
func (d *daemonProcess) kill() error {
	if d.cmd == nil {
		return nil
	}
	d.client.Close()
	err := d.cmd.Process.Kill()
	_ = d.cmd.Wait() // it was killed, and says so
	d.cmd = nil
	return errors.Join(err, closed(d.stdin.Close()))
}

// closed forgives that the far end went first.
func closed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (d *daemonProcess) close() error {
	err := d.kill()
	if d.conn != nil {
		err = errors.Join(err, d.conn.Close())
	}
	return errors.Join(err, d.ns.Close())
}

// attachNew makes a sandbox and attaches it to network i, each with a call through the socket.
func (d *daemonProcess) attachNew(ctx context.Context, i int) (time.Duration, error) {
	d.made++
	name := "box" + strconv.Itoa(d.made)
	start := time.Now()
	if _, err := d.client.CreateSandbox(ctx, wire.SandboxCreate{Name: name}); err != nil {
		return 0, err
	}
	_, err := d.client.Attach(ctx, wire.Attach{Sandbox: name, Network: networkName(i)})
	took := time.Since(start)
	d.live = append(d.live, name)
	return took, err
}

// clear deletes the sandboxes and waits until the kernel is quiet.
func (d *daemonProcess) clear(ctx context.Context) error {
	for _, name := range d.live {
		if err := d.client.DeleteSandbox(ctx, name); err != nil {
			return err
		}
	}
	d.live = nil
	return quiet(ctx, d.conn, 0)
}

// memory is what the process takes of the machine, in MiB: all that is resident, and its share of it.
func (d *daemonProcess) memory() (rss, pss float64, err error) {
	dir := "/proc/" + strconv.Itoa(d.cmd.Process.Pid)
	if rss, err = kilobytes(dir+"/status", "VmRSS:"); err != nil {
		return 0, 0, err
	}
	pss, err = kilobytes(dir+"/smaps_rollup", "Pss:")
	return rss / 1024, pss / 1024, err
}

// kilobytes is the number behind a word in a file of proc.
func kilobytes(file, word string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for row := range strings.Lines(string(text)) {
		if fields := strings.Fields(row); len(fields) >= 2 && fields[0] == word {
			return strconv.ParseFloat(fields[1], 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, word)
}

const (
	memoryMost = 60.0 // MiB
	startMost  = 1.0  // s
)

// measureDaemon is what a daemon with a thousand endpoints takes, and how long it needs to start on them.
func measureDaemon(ctx context.Context, b *bench) ([]figure, error) {
	d, err := b.daemon(ctx)
	if err != nil {
		return nil, err
	}
	for i := range thousand {
		if _, err := d.attachNew(ctx, i%networks); err != nil {
			return nil, describe("attach", i, err)
		}
	}
	rss, pss, err := d.memory()
	if err != nil {
		return nil, err
	}
	var starts series
	for range b.times(5, 3) {
		took, err := d.restart(ctx)
		if err != nil {
			return nil, err
		}
		starts = append(starts, took)
	}
	again, pssAgain, err := d.memory()
	if err != nil {
		return nil, err
	}
	return []figure{
		atMost("the daemon's memory with 1,000 endpoints", rss, "MiB", memoryMost).noted("resident, after attaching; proportional %s", number(pss)),
		atMost("the same after a start", again, "MiB", memoryMost).noted("proportional %s", number(pssAgain)),
		atMost("start and verify 1,000 endpoints", starts.median().Seconds(), "s", startMost).noted("after kill -9, worst of %d %s s", len(starts), number(starts.quantile(1).Seconds())),
	}, d.clear(ctx)
}

// restart kills the daemon, starts it again, and makes sure that it knows its endpoints.
func (d *daemonProcess) restart(ctx context.Context) (time.Duration, error) {
	if err := d.kill(); err != nil {
		return 0, err
	}
	took, err := d.start(ctx)
	if err != nil {
		return 0, err
	}
	known, err := d.client.Endpoints(ctx)
	if err == nil && len(known) != len(d.live) {
		err = fmt.Errorf("the daemon knows %d endpoints after its start, not %d", len(known), len(d.live))
	}
	return took, err
}
