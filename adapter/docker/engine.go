// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
)

// engine is Docker's own API, of which we ask little.
type engine struct{ http *http.Client }

func newEngine(socket string) *engine {
	var d net.Dialer
	return &engine{&http.Client{Transport: &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
		ResponseHeaderTimeout: callTime,
	}}}
}

// Objects of the API, as far as they are of use.

type engineNetwork struct {
	ID     string `json:"Id"`
	Name   string
	Labels map[string]string
}

type engineContainer struct {
	ID              string `json:"Id"`
	Names           []string
	Labels          map[string]string
	NetworkSettings struct {
		Networks map[string]struct{ EndpointID string }
	}
}

// answerMax bounds a list, in bytes.
const answerMax = 64 << 20

// open begins a call whose answer is read until ctx ends.
func (e *engine) open(ctx context.Context, path string, filters map[string][]string) (io.ReadCloser, error) {
	where := "http://docker" + path
	if filters != nil {
		text, err := json.Marshal(filters)
		if err != nil {
			return nil, err
		}
		where += "?" + url.Values{"filters": {string(text)}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s answered %s", path, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// list reads a whole list.
func (e *engine) list(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	body, err := e.open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, answerMax)).Decode(into); err != nil {
		return fmt.Errorf("the answer to %s: %w", path, err)
	}
	return nil
}

// Pauses between two tries to reach Docker.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

// follow keeps what we have as Docker has it, until ctx ends.
func (p *Plugin) follow(ctx context.Context, e *engine) {
	defer e.http.CloseIdleConnections()
	pause := firstPause
	for {
		reached, err := p.followOnce(ctx, e)
		if ctx.Err() != nil {
			return
		}
		if reached || pause == firstPause {
			p.log.WarnContext(ctx, "docker is away", slog.String("error", err.Error()))
		}
		if reached {
			pause = firstPause
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			pause = min(2*pause, longestPause)
		}
	}
}

// followOnce does it until the events end. What happens while the lists are read is told by an event, so that they are read again.
func (p *Plugin) followOnce(ctx context.Context, e *engine) (reached bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events, err := e.open(ctx, "/events", map[string][]string{
		"type": {"network", "container"}, "event": {"create", "destroy", "connect", "disconnect", "start", "rename"},
	})
	if err != nil {
		return false, err
	}
	more, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		dec := json.NewDecoder(events)
		for {
			var event json.RawMessage
			if err := dec.Decode(&event); err != nil {
				cancel(fmt.Errorf("docker's events ended: %w", err))
				return
			}
			select {
			case more <- struct{}{}:
			default:
			}
		}
	}()
	defer func() { cancel(nil); _ = events.Close(); <-ended }()
	again := time.NewTicker(p.abandoned)
	defer again.Stop()
	p.log.InfoContext(ctx, "following docker")
	for {
		if err := p.learn(ctx, e); err != nil {
			return true, err
		}
		select {
		case <-more:
		case <-again.C: // what was too young, or in use
		case <-ctx.Done():
			return true, context.Cause(ctx)
		}
	}
}
