// SPDX-License-Identifier: Apache-2.0

// Package client speaks to the daemon over its unix socket. One method is one round trip on a kept connection. References
// to objects are IDs, names, or ID prefixes of at least four digits; endpoints are written NETWORK/NAME or by ID.
//
// Errors of the daemon come back as [cnm.Error] values of the same kind and text; where no daemon answers the kind is
// [cnm.Unavailable], where its socket may not be opened [cnm.NotPermitted].
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// DefaultSocket is where the daemon listens unless told otherwise.
const DefaultSocket = "/run/cnm/cnm.sock"

// lag is how much longer than the deadline the client waits, so that the daemon's own word on it arrives.
const lag = 500 * time.Millisecond

// Client is a connection to a daemon. It is safe for concurrent use.
type Client struct {
	socket  string
	http    *http.Client
	timeout time.Duration
	brief   bool
}

// New is a client of the daemon at a socket; "" is [DefaultSocket]. Every call is bound by timeout, if that is not 0, and
// by its context. Nothing is opened before the first call.
func New(socket string, timeout time.Duration) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	var d net.Dialer
	return &Client{
		socket:  socket,
		timeout: timeout,
		http: &http.Client{
			Transport:     &lines{dial: func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) }},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close ends the idle connections. The client may be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Socket is where the daemon is looked for.
func (c *Client) Socket() string { return c.socket }

// target is a path below the API's root with its query.
type target struct {
	path  string
	query url.Values
}

// at builds a path from segments, each escaped.
func at(segments ...string) target {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return target{path: b.String()}
}

func (t target) with(key string, values ...string) target {
	if len(values) > 0 {
		t.query = url.Values{key: values}
	}
	return t
}

// forced adds ?force=true.
func (t target) forced(force bool) target {
	if force {
		return t.with("force", "true")
	}
	return t
}

// checkRef refuses what can name nothing, and would change the meaning of a path.
func checkRef(noun, ref string) error {
	if ref == "" || ref[0] == '.' {
		return cnm.FieldErrorf(cnm.Invalid, noun, "%q names no %s; a name begins with a letter or digit", ref, noun)
	}
	return nil
}

// call makes one round trip. in is the body, nil for none; out takes the answer, nil if there is none.
func (c *Client) call(ctx context.Context, method string, to target, in, out any) error {
	if c.brief {
		return c.callBriefly(ctx, method, to, in, out)
	}
	ctx, cancel, header := c.bound(ctx)
	defer cancel()
	resp, err := c.send(ctx, method, to, in, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return c.explain(ctx, err)
	}
	if out == nil {
		return nil
	}
	return decode(method, to, data, out)
}

// decode reads an answer.
func decode(method string, to target, data []byte, out any) error {
	if err := json.Unmarshal(data, out); err != nil {
		return cnm.Errorf(cnm.Internal, "the daemon's answer to %s %s is not as it should be: %w", method, to.path, err)
	}
	return nil
}

// bound is the context of a call and the deadline the daemon is told.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc, string) {
	if c.timeout <= 0 {
		return ctx, func() {}, ""
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout+lag)
	return ctx, cancel, c.timeout.String()
}

// send makes a request and turns an error answer into an error.
func (c *Client) send(ctx context.Context, method string, to target, in any, timeout string) (*http.Response, error) {
	resp, err := c.request(ctx, method, to, in, timeout)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close()
		data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return nil, cnm.Errorf(cnm.Unavailable, "the daemon's answer broke off: %w", err)
		}
		return nil, restore(resp.Status, data)
	}
	return resp, nil
}

// request makes a request, and takes any answer.
func (c *Client) request(ctx context.Context, method string, to target, in any, timeout string) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	where := "http://cnm" + to.path
	if len(to.query) > 0 {
		where += "?" + to.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, where, body)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if timeout != "" {
		req.Header.Set("X-Cnm-Timeout", timeout)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return resp, nil
}

// restore reads the error in an answer.
func restore(status string, data []byte) error {
	var e wire.Error
	if err := json.Unmarshal(data, &e); err != nil || e.Message == "" {
		return cnm.Errorf(cnm.Internal, "whoever answers is no daemon of ours: %s", status)
	}
	return e.Restore()
}

// explain says in our words why there is no answer.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cnm.FieldErrorf(cnm.Unavailable, "socket", "no socket at %s; start it with: cnm daemon", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return cnm.FieldErrorf(cnm.Unavailable, "socket", "nobody answers at %s; start it with: cnm daemon", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return cnm.FieldErrorf(cnm.NotPermitted, "socket", "permission denied at %s; be root or a member of the group cnm", c.socket)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return cnm.FieldErrorf(cnm.Unavailable, "timeout", "no answer from the daemon in time: %w", ctx.Err())
	case ctx.Err() != nil:
		return cnm.Errorf(cnm.Unavailable, "interrupted: %w", ctx.Err())
	default:
		return cnm.Errorf(cnm.Unavailable, "the daemon at %s went away: %w", c.socket, err)
	}
}
