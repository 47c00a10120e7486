// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// Config says where namespaces are pinned.
type Config struct {
	// RunDir holds the pins of our own namespaces, as RunDir/netns/NAME, or
	// RunDir/netns/ID for a sandbox without a name. Required, absolute.
	RunDir string
	// LinkDir gets a second name for each, as the symbolic link LinkDir/cnm-NAME;
	// with /run/netns, ip-netns(8) sees our namespaces. Empty: no second name.
	LinkDir string
	// Log takes what is worth telling but fails no call; nothing is logged where nil.
	Log *slog.Logger
}

// Stack realises [cnm.Stack] and [cnm.Watcher] with network namespaces. The host's
// own stack is the namespace that the process had when New was called. It is
// safe for concurrent use. Of a sandbox it holds no descriptor between calls, but for those of ours for two seconds.
type Stack struct {
	cfg    Config
	pinDir string
	host   netns.Cookie
	groups string     // see pingGroups
	conn   *link.Conn // in the host's stack
	keeper *keeper
	ids    *namespaceIDs

	holders holders
	pace    pace

	mu sync.Mutex // guards the fields below; never held across the kernel
	// made are the pins made by this process and not yet deleted: their records may
	// be younger than the list that Reconcile was called with.
	made map[string]struct{}
	// known are the sandboxes seen so far, by cookie, for a watch that starts later.
	known map[netns.Cookie]cnm.Sandbox
	watch *watch // nil while nobody watches
}

var (
	_ cnm.Stack     = (*Stack)(nil)
	_ cnm.Furnisher = (*Stack)(nil)
	_ cnm.Watcher   = (*Stack)(nil)
)

// New prepares RunDir/netns, see [netns.PrepareDir], and finds out which namespace
// is the host's. Close ends it.
func New(cfg Config) (*Stack, error) {
	if !filepath.IsAbs(cfg.RunDir) || cfg.LinkDir != "" && !filepath.IsAbs(cfg.LinkDir) {
		return nil, cnm.Errorf(cnm.Invalid, "run directory %q and link directory %q: give absolute paths", cfg.RunDir, cfg.LinkDir)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Stack{
		cfg:    cfg,
		pinDir: filepath.Join(cfg.RunDir, "netns"),
		made:   make(map[string]struct{}),
		known:  make(map[netns.Cookie]cnm.Sandbox),
		keeper: newKeeper(cfg.Log),
	}
	if err := netns.PrepareDir(s.pinDir); err != nil {
		return nil, cnm.Errorf(kindOf(err), "prepare %s for namespaces: %w", s.pinDir, err)
	}
	gidMap, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return nil, cnm.Errorf(kindOf(err), "look at the user namespace: %w", err)
	}
	s.groups = pingGroups(string(gidMap))
	host, err := netns.Current()
	if err != nil {
		return nil, cnm.Errorf(kindOf(err), "look at the host's own stack: %w", err)
	}
	defer host.Close()
	if s.host, err = host.Cookie(); err != nil {
		return nil, cnm.Errorf(kindOf(err), "look at the host's own stack: %w", err)
	}
	if s.conn, err = link.Dial(link.Here); err != nil {
		return nil, cnm.Errorf(kindOf(err), "open a netlink socket: %w", err)
	}
	if s.ids, err = newNamespaceIDs(context.Background()); err != nil {
		return nil, errors.Join(cnm.Errorf(kindOf(err), "read namespace ids: %w", err), s.conn.Close())
	}
	return s, nil
}

// Close gives the stack's sockets up. It changes nothing in the kernel.
func (s *Stack) Close() error {
	s.keeper.close()
	return errors.Join(s.ids.close(), s.conn.Close())
}

// Release takes back what New prepared, once no pin is left; the directory stays.
// It is for whoever removes all traces, not for the end of a program.
func (s *Stack) Release(context.Context) error {
	if err := netns.ReleaseDir(s.pinDir); err != nil {
		return cnm.Errorf(kindOf(err), "release %s: %w", s.pinDir, err)
	}
	return nil
}

// pinName is the last component of an owned sandbox's pin.
func pinName(sb cnm.Sandbox) string {
	if sb.Name != "" {
		return sb.Name
	}
	return string(sb.ID)
}

// pin is where an owned sandbox's namespace is pinned.
func (s *Stack) pin(sb cnm.Sandbox) string { return filepath.Join(s.pinDir, pinName(sb)) }

// linkPrefix begins the second names.
const linkPrefix = "cnm-"

// linkName is an owned sandbox's second name; "" where there is none.
func (s *Stack) linkName(sb cnm.Sandbox) string {
	if s.cfg.LinkDir == "" {
		return ""
	}
	return filepath.Join(s.cfg.LinkDir, linkPrefix+pinName(sb))
}

// remember notes a sandbox for the watch, and has a watch that runs follow it.
func (s *Stack) remember(sb cnm.Sandbox, cookie netns.Cookie) {
	if cookie == s.host {
		return
	}
	s.mu.Lock()
	s.known[cookie] = sb
	w := s.watch
	s.mu.Unlock()
	if w != nil {
		w.follow(sb, cookie)
	}
}

// left tells a watch that runs how a plug left a link.
func (s *Stack) left(cookie netns.Cookie, l link.Link) {
	if w := s.current(); w != nil {
		w.left(cookie, l)
	}
}

// found tells a watch that runs which links of a namespace are up.
func (s *Stack) found(cookie netns.Cookie, links []link.Link) {
	if w := s.current(); w != nil {
		w.found(cookie, links)
	}
}

// current is the watch that runs; nil if none does.
func (s *Stack) current() *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watch
}

// forget ends what remember began.
func (s *Stack) forget(cookie netns.Cookie) {
	s.mu.Lock()
	delete(s.known, cookie)
	w := s.watch
	s.mu.Unlock()
	s.keeper.dropCookie(cookie)
	if w != nil {
		w.unfollow(cookie)
	}
}
