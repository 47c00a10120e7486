// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	cnm "github.com/libnetwork/cnm"
)

// Config says where files are.
type Config struct {
	// RunDir holds the files, as RunDir/sandboxes/ID/{hosts,resolv.conf,hostname}. Required.
	RunDir string
	// ResolvConf is the host's own; "/etc/resolv.conf" where empty.
	ResolvConf string
	// UpstreamResolvConf is systemd-resolved's list of the servers behind its stub;
	// "/run/systemd/resolve/resolv.conf" where empty.
	UpstreamResolvConf string
}

// The files of a sandbox.
const (
	hostsName      = "hosts"
	resolvConfName = "resolv.conf"
	hostnameName   = "hostname"
)

// Names realises [cnm.Names] with files. It is safe for concurrent use; calls for
// one sandbox run one after the other.
type Names struct {
	cfg   Config
	locks locks
}

var _ cnm.Names = (*Names)(nil)

// New returns the names kept under cfg.RunDir. It touches nothing.
func New(cfg Config) *Names {
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	if cfg.UpstreamResolvConf == "" {
		cfg.UpstreamResolvConf = "/run/systemd/resolve/resolv.conf"
	}
	return &Names{cfg: cfg, locks: locks{held: make(map[cnm.SandboxID]*lock)}}
}

// Files writes the sandbox's files, readable by everybody, and returns their paths.
func (n *Names) Files(ctx context.Context, sb cnm.Sandbox, at []cnm.Attachment) (cnm.NameFiles, error) {
	if err := n.locked(ctx, sb.ID, func(dir string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return cnm.Errorf(cnm.Internal, "make the directory of sandbox %s's name files: %w", sb.ID, err)
		}
		return n.write(dir, sb, at)
	}); err != nil {
		return cnm.NameFiles{}, err
	}
	dir := n.dir(sb.ID)
	return cnm.NameFiles{
		Hosts:      filepath.Join(dir, hostsName),
		ResolvConf: filepath.Join(dir, resolvConfName),
		Hostname:   filepath.Join(dir, hostnameName),
	}, nil
}

// Put brings existing files up to date. A file whose content is right already is
// not written.
func (n *Names) Put(ctx context.Context, sb cnm.Sandbox, at []cnm.Attachment) error {
	return n.locked(ctx, sb.ID, func(dir string) error {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return n.write(dir, sb, at)
	})
}

// Drop removes the files. Whoever has one mounted keeps what it last said.
func (n *Names) Drop(ctx context.Context, id cnm.SandboxID) error {
	return n.locked(ctx, id, func(dir string) error {
		if err := os.RemoveAll(dir); err != nil {
			return cnm.Errorf(cnm.Internal, "remove sandbox %s's name files: %w", id, err)
		}
		return nil
	})
}

// locked runs fn with the sandbox's directory while no other call works on it.
func (n *Names) locked(ctx context.Context, id cnm.SandboxID, fn func(dir string) error) error {
	if err := checkID(id); err != nil {
		return err
	}
	unlock, err := n.locks.take(ctx, id)
	if err != nil {
		return cnm.Errorf(cnm.Unavailable, "wait for another change of sandbox %s's name files: %w", id, err)
	}
	defer unlock()
	return fn(n.dir(id))
}

func (n *Names) dir(id cnm.SandboxID) string {
	return filepath.Join(n.cfg.RunDir, "sandboxes", string(id))
}

// write decides all three files before it writes one.
func (n *Names) write(dir string, sb cnm.Sandbox, at []cnm.Attachment) error {
	hostname, err := HostnameFile(sb)
	if err != nil {
		return err
	}
	hosts, err := HostsFile(sb, at)
	if err != nil {
		return err
	}
	host, err := n.hostResolvers()
	if err != nil {
		return err
	}
	conf, err := ChooseResolvers(sb, at, host)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return cnm.Errorf(cnm.Internal, "open the directory of sandbox %s's name files: %w", sb.ID, err)
	}
	defer root.Close()
	return errors.Join(
		rewrite(root, hostsName, hosts),
		rewrite(root, resolvConfName, conf.Bytes()),
		rewrite(root, hostnameName, hostname),
	)
}

// hostResolvers reads the host's two files; one that is not there says nothing.
func (n *Names) hostResolvers() (HostResolvers, error) {
	var texts [2][]byte
	for i, path := range []string{n.cfg.ResolvConf, n.cfg.UpstreamResolvConf} {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return HostResolvers{}, cnm.Errorf(cnm.Internal, "read the host's resolvers: %w", err)
		}
		texts[i] = text
	}
	return HostResolvers{Conf: ParseResolvConf(texts[0]), Upstream: ParseResolvConf(texts[1])}, nil
}

// checkID keeps what is no identifier from becoming a path.
func checkID(id cnm.SandboxID) error {
	for _, c := range []byte(id) {
		if c < '0' || c > 'f' || c > '9' && c < 'a' {
			return cnm.FieldErrorf(cnm.Invalid, "sandbox", "sandbox id %q is not made of hexadecimal digits", string(id))
		}
	}
	if id == "" {
		return cnm.FieldErrorf(cnm.Invalid, "sandbox", "sandbox id is empty")
	}
	return nil
}
