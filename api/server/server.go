// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// What a caller may take of our time and memory.
const (
	bodyMax       = 1 << 20 // bytes
	headerMax     = 16 << 10
	headerTimeout = 5 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
)

// Config is what a server is made of.
type Config struct {
	Controller Controller
	Log        *slog.Logger
	// Group looks up the group whose members may change everything; nil: there is none.
	Group func() (gid uint32, ok bool)
	// Version is told in the Server header of every answer.
	Version string
}

// Server answers the API. It is safe for concurrent use.
type Server struct {
	ctl     Controller
	log     *slog.Logger
	group   func() (uint32, bool)
	version string
	peer    func(net.Conn) (Peer, error)
	mux     *http.ServeMux
	stop    chan struct{} // closed when streams have to end

	bodyTimeout time.Duration // how long a body may take to come
	grace       time.Duration // how long calls under way may go on after the daemon was told to stop
}

// New makes a server. It fails if a route of its own is not fit to be registered.
func New(cfg Config) (*Server, error) {
	s := &Server{
		ctl: cfg.Controller, log: cfg.Log, group: cfg.Group, version: cfg.Version,
		peer: peerOf, stop: make(chan struct{}),
		bodyTimeout: 10 * time.Second, grace: 5 * time.Second,
	}
	if s.group == nil {
		s.group = func() (uint32, bool) { return 0, false }
	}
	var err error
	s.mux, err = s.register(routes())
	return s, err
}

// Serve answers on ln until ctx ends, then lets the calls under way come to their end, at most five seconds, and closes ln. It may be called once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerMax,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ConnContext:       s.identify,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	close(s.stop)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	err := srv.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("calls were cut off at the end", slog.Duration("grace", s.grace))
		err = srv.Close()
	}
	if why := <-served; !errors.Is(why, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve the API: %w", why))
	}
	return err
}

// ServeHTTP refuses what no program of ours sends (a browser's requests), then routes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "cnm/"+s.version)
	if err := refuse(r); err != nil {
		s.fail(w, err, r.ContentLength != 0)
		return
	}
	handler, pattern := s.mux.Handler(r)
	if pattern == "" {
		s.fail(w, noRoute(handler, r), r.ContentLength != 0)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// refuse keeps web pages out, which can make a browser send requests but cannot leave these traces off.
func refuse(r *http.Request) error {
	for _, h := range []string{"Origin", "Referer", "Sec-Fetch-Site"} {
		if r.Header.Get(h) != "" {
			return cnm.FieldErrorf(cnm.NotPermitted, h, "a request with the header %s comes from a browser; this API takes none", h)
		}
	}
	switch r.Host {
	case "cnm", "localhost", "":
		return nil
	default:
		return cnm.FieldErrorf(cnm.NotPermitted, "Host", "host %q is not ours; write cnm or localhost", r.Host)
	}
}

// noRoute is what the mux found in place of a route: 404, or 405 with what is allowed.
func noRoute(handler http.Handler, r *http.Request) error {
	probe := probe{header: http.Header{}}
	handler.ServeHTTP(&probe, r)
	if allow := probe.header.Get("Allow"); allow != "" {
		return &statusError{http.StatusMethodNotAllowed, cnm.Errorf(cnm.Invalid, "%s takes %s, not %s", r.URL.Path, allow, r.Method)}
	}
	return &statusError{http.StatusNotFound, cnm.Errorf(cnm.Unsupported, "there is no %s in this API; is the daemon older than its caller?", r.URL.Path)}
}

// probe is a response nobody gets.
type probe struct{ header http.Header }

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(int)             {}
