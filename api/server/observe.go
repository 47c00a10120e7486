// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// live says that requests are answered at all.
func (s *Server) live(context.Context, *call) (any, error) {
	return text{http.StatusOK, "ok\n"}, nil
}

// ready says whether the parts work; ?verbose names them, to those who may change things.
func (s *Server) ready(ctx context.Context, c *call) (any, error) {
	_, verbose := c.query["verbose"]
	if verbose && c.role < Change {
		return nil, cnm.FieldErrorf(cnm.NotPermitted, "verbose", "uid %d may not see the parts; be root or a member of the group cnm", c.UID)
	}
	status, lines := http.StatusOK, strings.Builder{}
	for _, check := range s.ctl.Ready(ctx) {
		if check.Err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&lines, "[-] %s: %v\n", check.Name, check.Err)
			continue
		}
		fmt.Fprintf(&lines, "[+] %s\n", check.Name)
	}
	last := "ready\n"
	if status != http.StatusOK {
		last = "not ready\n"
	}
	if !verbose {
		return text{status, last}, nil
	}
	return text{status, lines.String() + last}, nil
}

func (s *Server) listDrivers(ctx context.Context, c *call) (any, error) {
	f, err := parseFilter(c.query["filter"])
	if err == nil {
		err = f.only("driver", "name", "driver")
	}
	if err != nil {
		return nil, err
	}
	all := s.ctl.Drivers(ctx)
	out := []wire.Driver{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if f.match(subject{names: []string{name}, drivers: []string{name}}) {
			d := all[name]
			out = append(out, wire.FromDriver(name, &d))
		}
	}
	return out, nil
}

func (s *Server) inspectDriver(ctx context.Context, c *call) (any, error) {
	name, all := c.r.PathValue("driver"), s.ctl.Drivers(ctx)
	d, ok := all[name]
	if !ok {
		names := strings.Join(slices.Sorted(maps.Keys(all)), ", ")
		return nil, cnm.FieldErrorf(cnm.NotFound, "driver", "there is no driver %q; there are %s", name, names)
	}
	return wire.FromDriver(name, &d), nil
}

// events streams one JSON object a line until the caller goes away or the daemon ends. Its header is sent as soon as
// nothing can be missed any more.
func (s *Server) events(ctx context.Context, c *call) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed := s.ctl.Events(ctx)
	rc := http.NewResponseController(c.w)
	c.w.Header().Set("Content-Type", "application/jsonl")
	if err := rc.Flush(); err != nil {
		return fmt.Errorf("begin the stream: %w", err)
	}
	out := json.NewEncoder(c.w)
	for {
		select {
		case <-s.stop:
			return nil
		case <-ctx.Done():
			return nil
		case e, ok := <-feed:
			if !ok || s.send(rc, out, &e) != nil {
				return nil
			}
		}
	}
}

// send writes one event. A reader that takes none for thirty seconds is let go.
func (s *Server) send(rc *http.ResponseController, out *json.Encoder, e *cnm.Event) error {
	if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if err := out.Encode(wire.FromEvent(e)); err != nil {
		return err
	}
	return rc.Flush()
}
