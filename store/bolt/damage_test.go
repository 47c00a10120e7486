// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/store/storetest"
)

// config is a store in two new directories.
func config(t testing.TB) Config {
	t.Helper()
	return Config{StateDir: t.TempDir(), RunDir: t.TempDir(), BootID: "b0", HostCookie: 0xc, Version: "cnm test"}
}

// path is the file of the lifetime.
func (c Config) path(t testing.TB, l lifetime) string {
	t.Helper()
	if l == durable {
		return filepath.Join(c.StateDir, "cnm.db")
	}
	p, err := c.bootPath()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// filled is a closed store with some records, and all it holds. Both files have branches, leaves, free pages and a record of
// several pages.
func filled(t testing.TB) (Config, cnm.Records) {
	t.Helper()
	c := config(t)
	s := mustOpen(t, c)
	large := storetest.Sample(100, true)
	large.Networks[0].Labels = map[string]string{"large": strings.Repeat("x", 9000)}
	mustPut(t, s, large)
	for n := range 6 {
		mustPut(t, s, storetest.Sample(n, n%2 == 0))
	}
	if err := s.Drop(t.Context(), cnm.Keys{Endpoints: []cnm.EndpointID{storetest.Sample(1, false).Endpoints[0].ID}}); err != nil {
		t.Fatal(err)
	}
	all := mustLoad(t, s)
	all.Boot.Fresh = false
	mustClose(t, s)
	return c, all
}

func mustOpen(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { mustClose(t, s) })
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func mustPut(t testing.TB, s *Store, r cnm.Records) {
	t.Helper()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatalf("put: %v", err)
	}
}

func mustLoad(t testing.TB, s *Store) cnm.Records {
	t.Helper()
	r, err := s.Load(t.Context())
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return r
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustWrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// eachLifetime runs fn for both files.
func eachLifetime(t *testing.T, fn func(t *testing.T, l lifetime)) {
	t.Helper()
	for _, l := range []lifetime{durable, boot} {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			fn(t, l)
		})
	}
}

// TestFlippedBytes flips a bit of every eleventh byte of a file, which is every field of its structures somewhere: either
// it is refused, or what it holds is the same.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	eachLifetime(t, func(t *testing.T, l lifetime) {
		c, _ := filled(t)
		data := mustRead(t, c.path(t, l))
		want, err := judge(data, l)
		if err != nil {
			t.Fatalf("the undamaged file: %v", err)
		}
		noticed := 0
		for i := 0; i < len(data); i += 11 {
			data[i] ^= 1 << (i % 8)
			if got, err := judge(data, l); err != nil {
				noticed++
			} else if !reflect.DeepEqual(got, want) {
				t.Fatalf("with byte %d flipped it is taken, and holds something else", i)
			}
			data[i] ^= 1 << (i % 8)
		}
		if noticed == 0 {
			t.Error("no flipped byte was ever noticed")
		}
	})
}

// content is all that a good file says.
type content struct {
	meta    meta
	records map[string]string
}

// judge reads a file's content as Open does before bbolt sees it.
func judge(data []byte, l lifetime) (content, error) {
	found, err := readImage(data)
	if err != nil {
		return content{}, err
	}
	m, _, err := currentSchema().check(found, l)
	if err != nil {
		return content{}, err
	}
	c := content{meta: m, records: map[string]string{}}
	for _, p := range found[recordsBucket].pairs {
		c.records[string(p.key)] = string(p.value)
	}
	return c, nil
}

// TestDamagedOpen opens truncated files and files with some bytes changed: what is not refused is whole, and what is refused is
// left as it is.
func TestDamagedOpen(t *testing.T) {
	t.Parallel()
	eachLifetime(t, func(t *testing.T, l lifetime) {
		c, want := filled(t)
		whole := mustRead(t, c.path(t, l))
		for size := 0; size < len(whole); size += 512 {
			tryDamaged(t, c, l, whole[:size], want, fmt.Sprintf("cut to %d bytes", size))
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 150 {
			data := bytes.Clone(whole)
			at := rnd.IntN(len(data))
			for i := range 1 + rnd.IntN(64) {
				data[(at+i)%len(data)] = byte(rnd.Uint32())
			}
			tryDamaged(t, c, l, data, want, fmt.Sprintf("changed at %d", at))
		}
		mustWrite(t, c.path(t, l), whole)
		if got := mustLoad(t, mustOpen(t, c)); !reflect.DeepEqual(got, want) {
			t.Errorf("at the end it holds %+v", got)
		}
	})
}

// tryDamaged opens the store with data in place of a file.
func tryDamaged(t *testing.T, c Config, l lifetime, data []byte, want cnm.Records, what string) {
	t.Helper()
	path := c.path(t, l)
	mustWrite(t, path, data)
	before := listing(t, c)
	s, err := Open(c)
	if err == nil {
		if got := mustLoad(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: it was taken and holds %+v", what, got)
		}
		mustClose(t, s)
		return
	}
	checkRefusal(t, what, err, path, cnm.Internal)
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("%s: %v is not ErrDamaged", what, err)
	}
	if !bytes.Equal(mustRead(t, path), data) {
		t.Errorf("%s: refusing it changed it", what)
	}
	if after := listing(t, c); after != before {
		t.Errorf("%s: there was %s and is %s", what, before, after)
	}
}

// checkRefusal checks that err has the kind, names the file and is one line.
func checkRefusal(t *testing.T, what string, err error, path string, kind cnm.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: it was taken", what)
	}
	if got := cnm.KindOf(err); got != kind {
		t.Errorf("%s: %v is of kind %v and not %v", what, err, got, kind)
	}
	if text := err.Error(); !strings.Contains(text, path) || strings.Contains(text, "\n") {
		t.Errorf("%s: %q does not name %s in one line", what, text, path)
	}
}

// listing names all files of both directories.
func listing(t *testing.T, c Config) string {
	t.Helper()
	var names []string
	for _, dir := range []string{c.StateDir, c.RunDir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// TestNotOurs puts other things where a file should be.
func TestNotOurs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		place func(t *testing.T, path string) error
		kind  cnm.Kind
		says  string
	}{
		{"empty", func(_ *testing.T, p string) error { return os.WriteFile(p, nil, 0o600) }, cnm.Internal, "move it away"},
		{"text", func(_ *testing.T, p string) error {
			return os.WriteFile(p, []byte(strings.Repeat("hello\n", 3000)), 0o600)
		}, cnm.Internal, "move it away"},
		{"directory", func(_ *testing.T, p string) error { return os.Mkdir(p, 0o700) }, cnm.Internal, "no regular file"},
		{"link", func(t *testing.T, p string) error { return os.Symlink(filepath.Join(t.TempDir(), "x"), p) }, cnm.Internal, "no regular file"},
		{"fifo", func(_ *testing.T, p string) error { return syscall.Mkfifo(p, 0o600) }, cnm.Internal, "no regular file"},
		{"writable", func(_ *testing.T, p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o666))
		}, cnm.NotPermitted, "chmod 600"},
		{"foreign", placeForeign, cnm.Internal, "another program"},
		{"swapped", placeSwapped, cnm.Internal, "another store's file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			eachLifetime(t, func(t *testing.T, l lifetime) {
				c := config(t)
				path := c.path(t, l)
				if err := tt.place(t, path); err != nil {
					t.Fatal(err)
				}
				before, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				_, err = Open(c)
				checkRefusal(t, tt.name, err, path, tt.kind)
				if !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v does not say %q", err, tt.says)
				}
				after, err := os.Lstat(path)
				if err != nil || after.Size() != before.Size() || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
					t.Errorf("it was %v and is %v (%v)", before, after, err)
				}
			})
		})
	}
}

// placeForeign puts another program's database there.
func placeForeign(_ *testing.T, path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("theirs"))
		return err
	}), db.Close())
}

// placeSwapped puts the file of the other lifetime there.
func placeSwapped(t *testing.T, path string) error {
	t.Helper()
	c, _ := filled(t)
	other := durable
	if filepath.Base(path) == "cnm.db" {
		other = boot
	}
	return os.WriteFile(path, mustRead(t, c.path(t, other)), 0o600)
}

// TestUnreadable has a file that even its owner may not open.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	eachLifetime(t, func(t *testing.T, l lifetime) {
		c, _ := filled(t)
		path := c.path(t, l)
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		s, err := Open(c)
		if os.Geteuid() == 0 { // whom no mode keeps out
			if err != nil {
				t.Fatalf("root may open it: %v", err)
			}
			mustClose(t, s)
			return
		}
		checkRefusal(t, "mode 0", err, path, cnm.NotPermitted)
	})
}

// TestMissingDirectory names what is missing.
func TestMissingDirectory(t *testing.T) {
	t.Parallel()
	eachLifetime(t, func(t *testing.T, l lifetime) {
		c := config(t)
		gone := filepath.Join(t.TempDir(), "gone")
		if l == durable {
			c.StateDir = gone
		} else {
			c.RunDir = gone
		}
		_, err := Open(c)
		checkRefusal(t, "no directory", err, c.path(t, l), cnm.NotFound)
	})
}

// FuzzImage checks that no content makes the check panic, and that bbolt gets along with all that passes it.
func FuzzImage(f *testing.F) {
	c, _ := filled(f)
	for _, l := range []lifetime{durable, boot} {
		f.Add(mustRead(f, c.path(f, l)))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := readImage(data)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "x.db")
		mustWrite(t, path, data)
		db, err := bbolt.Open(path, 0o600, (&opening{holds: boot}).options(nil))
		if err != nil {
			t.Fatalf("bbolt refuses what passed: %v", err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			for name, b := range found {
				for _, p := range b.pairs {
					if got := tx.Bucket([]byte(name)).Get(p.key); !bytes.Equal(got, p.value) {
						t.Errorf("bbolt reads %q at %q of %q, and the check %q", got, p.key, name, p.value)
					}
				}
			}
			b, err := tx.CreateBucketIfNotExists([]byte("more"))
			return errors.Join(err, b.Put([]byte("k"), data[:min(len(data), 5000)]))
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	})
}
