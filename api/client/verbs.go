// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// Join ties an endpoint to a sandbox.
func (c *Client) Join(ctx context.Context, req wire.Join) (out wire.Endpoint, err error) {
	return out, c.call(ctx, "POST", at("v1", "join"), req, &out)
}

// Leave unties it.
func (c *Client) Leave(ctx context.Context, req wire.Leave) error {
	return c.call(ctx, "POST", at("v1", "leave"), req, nil)
}

// Attach makes an endpoint and joins it.
func (c *Client) Attach(ctx context.Context, req wire.Attach) (out wire.Endpoint, err error) {
	return out, c.call(ctx, "POST", at("v1", "attach"), req, &out)
}

// Detach takes a sandbox off a network.
func (c *Client) Detach(ctx context.Context, req wire.Detach) error {
	return c.call(ctx, "POST", at("v1", "detach"), req, nil)
}

// Publish publishes and withdraws ports and shows the endpoints they belong to.
func (c *Client) Publish(ctx context.Context, req wire.Publish) (out []wire.Endpoint, err error) {
	return out, c.call(ctx, "POST", at("v1", "publish"), req, &out)
}

// Drivers lists drivers; the filters are name and driver.
func (c *Client) Drivers(ctx context.Context, filters ...string) (out []wire.Driver, err error) {
	return out, c.call(ctx, "GET", at("v1", "drivers").with("filter", filters...), nil, &out)
}

// Driver shows one.
func (c *Client) Driver(ctx context.Context, name string) (out wire.Driver, err error) {
	if err := checkRef("driver", name); err != nil {
		return out, err
	}
	return out, c.call(ctx, "GET", at("v1", "drivers", name), nil, &out)
}

// Version asks a daemon that lives for its version.
func (c *Client) Version(ctx context.Context) (string, error) {
	ctx, cancel, timeout := c.bound(ctx)
	defer cancel()
	resp, err := c.send(ctx, "GET", at("livez"), nil, timeout)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(resp.Header.Get("Server"), "cnm/"), resp.Body.Close()
}

// Part is a part of the daemon, and what is wrong with it if it is not ready.
type Part struct {
	Name, Text string
	OK         bool
}

// Ready asks a daemon for its parts.
func (c *Client) Ready(ctx context.Context) ([]Part, error) {
	ctx, cancel, timeout := c.bound(ctx)
	defer cancel()
	resp, err := c.request(ctx, "GET", at("readyz").with("verbose", ""), nil, timeout)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.Header.Get("Content-Type") == "application/json" {
		return nil, restore(resp.Status, data)
	}
	var parts []Part
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "[+] "); ok {
			parts = append(parts, Part{Name: name, OK: true})
		} else if what, ok := strings.CutPrefix(line, "[-] "); ok {
			name, text, _ := strings.Cut(what, ": ")
			parts = append(parts, Part{Name: name, Text: text})
		}
	}
	if len(parts) == 0 {
		return nil, cnm.Errorf(cnm.Internal, "whoever answers is no daemon of ours: %s", resp.Status)
	}
	return parts, nil
}

// Events returns when nothing that happens from now on can be missed, and yields events until the context or the client's
// timeout ends, which is no error, or the daemon does. The sequence must be ranged over, once.
func (c *Client) Events(ctx context.Context) (iter.Seq2[wire.Event, error], error) {
	cancel := context.CancelFunc(func() {})
	if c.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
	}
	resp, err := c.send(ctx, "GET", at("v1", "events"), nil, "") //nolint:bodyclose // the sequence closes it
	if err != nil {
		cancel()
		return nil, err
	}
	return func(yield func(wire.Event, error) bool) {
		defer cancel()
		defer resp.Body.Close()
		in := json.NewDecoder(resp.Body)
		for {
			var e wire.Event
			err := in.Decode(&e)
			switch {
			case err == nil:
				if !yield(e, nil) {
					return
				}
				continue
			case ctx.Err() == nil && errors.Is(err, io.EOF):
				yield(e, c.explain(ctx, errors.New("it ended the stream")))
			case ctx.Err() == nil:
				yield(e, c.explain(ctx, err))
			}
			return
		}
	}, nil
}
