// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/store/storetest"
)

// TestOneProcess refuses a second store on either file.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	c := config(t)
	s := mustOpen(t, c)
	_, err := Open(c)
	checkRefusal(t, "a second store", err, c.path(t, durable), cnm.Busy)
	if !strings.Contains(err.Error(), "another daemon has it") {
		t.Errorf("%v does not say why", err)
	}
	elsewhere := c
	elsewhere.StateDir = t.TempDir()
	_, err = Open(elsewhere)
	checkRefusal(t, "a second store with the same run directory", err, c.path(t, boot), cnm.Busy)
	mustPut(t, s, storetest.Sample(1, true))
	mustClose(t, s)
	mustLoad(t, mustOpen(t, c))
}

// TestSweep removes what other boots left, unopened, and nothing else.
func TestSweep(t *testing.T) {
	t.Parallel()
	c := config(t)
	mustClose(t, mustOpen(t, c))
	for _, name := range []string{"boot-a-1.db", "boot-b0-d.db", "boot-.db", ".boot-b0-c.db.123.new", "boot-a.txt", "other.db"} {
		mustWrite(t, filepath.Join(c.RunDir, name), []byte("not for reading"))
		if err := os.Chmod(filepath.Join(c.RunDir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, filepath.Join(c.StateDir, ".cnm.db.7.new"), nil)
	mustWrite(t, filepath.Join(c.StateDir, "cnm.db.bak"), nil)
	s := mustOpen(t, c)
	if mustLoad(t, s).Boot.Fresh {
		t.Error("its own file went too")
	}
	if got, want := listing(t, c), "cnm.db cnm.db.bak boot-a.txt boot-b0-c.db other.db"; got != want {
		t.Errorf("left are %s; it should be %s", got, want)
	}
}

// TestIdentity checks what names the boot file.
func TestIdentity(t *testing.T) {
	t.Parallel()
	c := config(t)
	s := mustOpen(t, c)
	group := mustLoad(t, s).Boot.Group
	mustClose(t, s)
	other := c
	other.HostCookie++
	s = mustOpen(t, other)
	if b := mustLoad(t, s).Boot; !b.Fresh || b.Group == group {
		t.Errorf("another host namespace finds %+v, with group %d before", b, group)
	}
	for _, id := range []string{"", "../x", "a/b", "G"} {
		c.BootID = id
		if _, err := Open(c); cnm.KindOf(err) != cnm.Invalid {
			t.Errorf("boot id %q gives %v", id, err)
		}
	}
}

// victimEnv names the directory whose store the process that is killed fills.
const victimEnv = "CNM_BOLT_VICTIM"

// TestKill kills a process while it writes, again and again: the store opens, and all that was acknowledged is there.
func TestKill(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(victimEnv); dir != "" {
		victim(t, Config{StateDir: dir, RunDir: dir, BootID: "b0", Version: "cnm test"})
		return
	}
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for round := range 8 {
		for _, id := range runVictim(t, dir, 20*(round+1)) {
			acknowledged[id] = true
		}
		s, err := Open(Config{StateDir: dir, RunDir: dir, BootID: "b0", Version: "cnm test"})
		if err != nil {
			t.Fatalf("after kill %d: %v", round+1, err)
		}
		networks, found := map[string]bool{}, map[string]bool{}
		r := mustLoad(t, s)
		for _, nw := range r.Networks {
			networks[string(nw.ID)] = true
		}
		for _, ep := range r.Endpoints { // the durable half is written first, so a network may lack its endpoint, but not the reverse
			found[string(ep.ID)] = true
			if !networks[string(ep.ID)] {
				t.Errorf("endpoint %s came without its network", ep.ID)
			}
		}
		mustClose(t, s)
		for id := range acknowledged {
			if !found[id] {
				t.Errorf("after kill %d: %s is lost", round+1, id)
			}
		}
	}
}

// runVictim starts a victim, kills it after so many lines, and returns what it acknowledged.
func runVictim(t *testing.T, dir string, lines int) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), victimEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	scanner := bufio.NewScanner(out)
	for len(ids) < lines && scanner.Scan() {
		ids = append(ids, scanner.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for scanner.Scan() {
		ids = append(ids, scanner.Text())
	}
	if err := cmd.Wait(); err == nil || len(ids) < lines {
		t.Fatalf("the victim ended by itself after %d lines: %v, %q", len(ids), err, ids)
	}
	return ids
}

// victim puts records and prints the identifier of each when it is safe, until it is killed.
func victim(t *testing.T, c Config) {
	s, err := Open(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	for n := 0; ; n++ {
		id := cnm.NewEndpointID()
		r := cnm.Records{
			Networks:  []cnm.Network{{ID: cnm.NetworkID(id)}},
			Endpoints: []cnm.Endpoint{{ID: id, Keep: n%2 == 0}},
		}
		if err := s.Put(t.Context(), r); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(id)
	}
}
