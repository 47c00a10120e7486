// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "oci.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func networks() Setup {
	return Setup{
		Hook:        Command{Path: "/usr/bin/cnm", Args: []string{"--socket", "/run/x&y.sock"}},
		Annotations: map[string]string{"networks": "web,db", "publish": "8080:80"}, Files: true, Poststop: true,
	}
}

func sandbox() Setup {
	const dir = "/run/cnm/sandboxes/0123456789abcdef0123456789abcdef/"
	return Setup{Files: true, Sandbox: wire.Entry{
		Name: "box", Namespace: "/run/cnm/netns/box",
		Files: wire.NameFiles{Hosts: dir + "hosts", ResolvConf: dir + "resolv.conf", Hostname: dir + "hostname"},
	}}
}

func edit(t *testing.T, config []byte, s Setup) []byte {
	t.Helper()
	out, _, err := Edit(config, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEdit: a golden for each sample and setup; once more changes nothing; the other setup in between does not either; and taken out, all is as it was.
func TestEdit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"runtime", "compact", "full"} {
		before := sample(t, name)
		for kind, s := range map[string]Setup{"networks": networks(), "sandbox": sandbox()} {
			got := edit(t, before, s)
			path := filepath.Join("testdata", name+"-"+kind+".golden")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s differs (run with -update to accept), %v:\n%s", path, err, got)
			}
			if again := edit(t, got, s); !bytes.Equal(again, got) {
				t.Errorf("%s: edited again it is\n%s", path, again)
			}
			for _, other := range []Setup{networks(), sandbox()} {
				if again := edit(t, edit(t, got, other), s); !sameJSON(t, again, got) {
					t.Errorf("%s: edited otherwise and again it is\n%s", path, again)
				}
			}
			if back := edit(t, got, Setup{}); !sameJSON(t, back, before) {
				t.Errorf("%s: taken out it is\n%s", path, back)
			}
		}
		if out := edit(t, before, Setup{}); !bytes.Equal(out, before) {
			t.Errorf("%s: nothing was to be done, it is\n%s", name, out)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var both [2]any
	for i, text := range [][]byte{a, b} {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&both[i]); err != nil {
			t.Fatal(err)
		}
	}
	// The network namespace is put in where there was none, and stays.
	return reflect.DeepEqual(both[0], both[1]) || strings.Contains(string(a), `{"type":"network"}`) && !strings.Contains(string(b), `"network"`)
}

func TestEditSaysWhatStays(t *testing.T) {
	t.Parallel()
	_, notes, err := Edit(sample(t, "full"), networks())
	if err != nil || len(notes) != 1 || notes[0] != "/etc/resolv.conf has a mount already, which stays" {
		t.Errorf("notes %q, %v", notes, err)
	}
}

func TestEditRefuses(t *testing.T) {
	t.Parallel()
	joined := `{"linux":{"namespaces":[{"type":"network","path":"/run/netns/other"}]}}`
	host := sandbox()
	host.Sandbox.Host = true
	for _, c := range []struct {
		config string
		setup  Setup
		part   string
	}{
		{"", networks(), ""},
		{"[]", networks(), "is no JSON object"},
		{`{"a":`, networks(), ""},
		{`{"a":1`, networks(), ""},
		{`{"hooks":[]}`, networks(), "hooks is no JSON object"},
		{`{"hooks":{"poststop":{}}}`, networks(), "poststop is no JSON array"},
		{`{"mounts":{}}`, networks(), "mounts is no JSON array"},
		{`{"linux":3}`, networks(), "linux is no JSON object"},
		{`{"annotations":"x"}`, networks(), "annotations is no JSON object"},
		{joined, networks(), "network namespace /run/netns/other of somebody else's"},
		{joined, sandbox(), "network namespace /run/netns/other already"},
		{"{}", host, "the host's own stack"},
	} {
		out, _, err := Edit([]byte(c.config), c.setup)
		if !errors.Is(err, cnm.Invalid) || out != nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v, gave %s", c.config, err, out)
		}
	}
}

// FuzzEdit: what is accepted is JSON, keeps what is not ours, and is the same when edited again.
func FuzzEdit(f *testing.F) {
	for _, name := range []string{"runtime", "compact", "full"} {
		f.Add(sample(f, name))
	}
	f.Add([]byte(`{"a":1,"a":2,"hooks":{"poststop":[3]},"mounts":[null],"linux":{"namespaces":[[]]}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		for _, s := range []Setup{networks(), sandbox(), {}} {
			once, _, err := Edit(config, s)
			if err != nil {
				continue
			}
			if !json.Valid(once) {
				t.Fatalf("%q became %q", config, once)
			}
			if twice, _, err := Edit(once, s); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%q became %q and then %q, %v", config, once, twice, err)
			}
		}
	})
}

// The runtime calls at the end only where that is wanted, and no more when it is not.
func TestEditPoststop(t *testing.T) {
	t.Parallel()
	s := networks()
	with, _, err := Edit([]byte("{}"), s)
	if err != nil || !bytes.Contains(with, []byte(`"poststop"`)) {
		t.Fatalf("%s (%v)", with, err)
	}
	s.Poststop = false
	without, _, err := Edit(with, s)
	if err != nil || bytes.Contains(without, []byte(`"poststop"`)) || !bytes.Contains(without, []byte(`"createRuntime"`)) {
		t.Errorf("%s (%v)", without, err)
	}
}
