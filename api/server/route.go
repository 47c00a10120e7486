// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// route is one row of the API: everything that is decided about a request before its handler runs.
type route struct {
	pattern string // method and path
	role    Role   // the least that is needed
	op      string // names the call in errors
	query   []string
	body    bool // it takes JSON
	serve   func(s *Server, ctx context.Context, c *call) (any, error)
	stream  func(s *Server, ctx context.Context, c *call) error // in place of serve: writes its own answer
}

// mutates tells whether the route changes something, and so is logged.
func (rt *route) mutates() bool { return !strings.HasPrefix(rt.pattern, "GET ") }

// call is one request under way.
type call struct {
	caller
	w     http.ResponseWriter
	r     *http.Request
	query map[string][]string
	read  bool          // the body was read to its end
	limit time.Duration // for the body to come
	attrs []any         // for the log: what was named and what was made
}

func (c *call) note(key, value string) { c.attrs = append(c.attrs, slog.String(key, value)) }

// text is an answer that is not JSON.
type text struct {
	status int
	body   string
}

// register builds the mux. A route without a role, or one that both answers and streams, is refused.
func (s *Server) register(routes []route) (*http.ServeMux, error) {
	mux := http.NewServeMux()
	for i := range routes {
		rt := &routes[i]
		if rt.role != ReadNetworks && rt.role != Change {
			return nil, fmt.Errorf("route %q has no role", rt.pattern)
		}
		if (rt.serve == nil) == (rt.stream == nil) {
			return nil, fmt.Errorf("route %q needs either an answer or a stream", rt.pattern)
		}
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { s.handle(rt, w, r) })
	}
	return mux, nil
}

// handle runs one call from admission to answer.
func (s *Server) handle(rt *route, w http.ResponseWriter, r *http.Request) {
	c := &call{caller: callerOf(r.Context()), w: w, r: r, limit: s.bodyTimeout}
	began := time.Now()
	ctx, cancel, err := s.admit(r.Context(), rt, c)
	var answer any
	if err == nil {
		defer cancel()
		if rt.stream != nil {
			if err = rt.stream(s, ctx, c); err == nil {
				return
			}
		} else {
			answer, err = rt.serve(s, ctx, c)
		}
	}
	err = cnm.During(rt.op, err)
	if rt.mutates() {
		s.record(rt, c, err, time.Since(began))
	}
	if err != nil {
		s.fail(w, err, r.ContentLength != 0 && !c.read)
		return
	}
	s.reply(w, answer)
}

// record writes the one line that each change leaves in the log.
func (s *Server) record(rt *route, c *call, err error, took time.Duration) {
	attrs := append([]any{
		slog.String("call", rt.op), slog.String("path", c.r.URL.Path),
		slog.Uint64("uid", uint64(c.UID)), slog.Int("pid", int(c.PID)), slog.String("role", c.role.String()),
		slog.Duration("took", took),
	}, c.attrs...)
	if err != nil {
		say := s.log.Warn
		if c.r.Method == http.MethodDelete && errors.Is(err, cnm.NotFound) {
			say = s.log.Info // whoever cleans up may come second
		}
		say("call refused", append(attrs, slog.String("kind", cnm.KindOf(err).Code().Name), slog.String("err", err.Error()))...)
		return
	}
	s.log.Info("call done", attrs...)
}

// admit checks all that does not depend on the model: the role, the query, the body's form, the deadline.
func (s *Server) admit(ctx context.Context, rt *route, c *call) (_ context.Context, cancel context.CancelFunc, err error) {
	if err := c.permit(rt); err != nil {
		return nil, nil, err
	}
	if c.query, err = query(c.r, rt.query); err != nil {
		return nil, nil, err
	}
	if err := bodyForm(rt, c.r); err != nil {
		return nil, nil, err
	}
	given := c.r.Header.Get("X-Cnm-Timeout")
	if given == "" {
		return ctx, func() {}, nil
	}
	limit, err := time.ParseDuration(given)
	if err != nil || limit <= 0 {
		return nil, nil, cnm.FieldErrorf(cnm.Invalid, "timeout", "X-Cnm-Timeout %q is no positive duration; write it as 1.5s", given)
	}
	ctx, cancel = context.WithTimeout(ctx, limit)
	return ctx, cancel, nil
}

func (c *call) permit(rt *route) error {
	if c.err != nil {
		return cnm.Errorf(cnm.NotPermitted, "the caller is not known: %w", c.err)
	}
	if c.role < rt.role {
		return cnm.Errorf(cnm.NotPermitted, "uid %d may only list networks; be root or a member of the group cnm", c.UID)
	}
	return nil
}

// query refuses what the route does not know.
func query(r *http.Request, known []string) (map[string][]string, error) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	for key := range q {
		if !slices.Contains(known, key) {
			return nil, cnm.FieldErrorf(cnm.Invalid, key, "query %q is unknown here", key)
		}
	}
	return q, nil
}

// bodyForm checks that there is a body just where there should be, and that it says it is JSON.
func bodyForm(rt *route, r *http.Request) error {
	if !rt.body {
		if r.ContentLength != 0 {
			return cnm.Errorf(cnm.Invalid, "%s takes no body", rt.pattern)
		}
		return nil
	}
	given := r.Header.Get("Content-Type")
	kind, params, err := mime.ParseMediaType(given)
	charset := params["charset"]
	if err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return &statusError{http.StatusUnsupportedMediaType, cnm.FieldErrorf(cnm.Invalid, "Content-Type", "content type %q is not application/json", given)}
	}
	return nil
}

// decode reads the body into a T, strictly.
func decode[T any](c *call) (T, error) {
	var v T
	rc := http.NewResponseController(c.w)
	if err := rc.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return v, fmt.Errorf("limit the time to read: %w", err)
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, bodyMax))
	if err != nil {
		return v, bodyError(err)
	}
	c.read = true
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return v, fmt.Errorf("lift the limit of the time to read: %w", err)
	}
	return v, wire.Decode(data, &v)
}
