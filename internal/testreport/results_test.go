// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stream is a run with two packages, nested tests, a skip, and a line that is no event.
const stream = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestOne"}
{"Action":"run","Package":"m/a","Test":"TestOne/x"}
{"Action":"output","Package":"m/a","Test":"TestOne/x","Output":"=== RUN   TestOne/x\n"}
{"Action":"pass","Package":"m/a","Test":"TestOne/x","Elapsed":0.1}
{"Action":"run","Package":"m/a","Test":"TestOne/y.z"}
{"Action":"pass","Package":"m/a","Test":"TestOne/y.z","Elapsed":0.1}
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0.2}
{"Action":"run","Package":"m/a","Test":"TestSCTP"}
{"Action":"output","Package":"m/a","Test":"TestSCTP","Output":"    a_test.go:7: no SCTP sockets\n"}
{"Action":"output","Package":"m/a","Test":"TestSCTP","Output":"--- SKIP: TestSCTP (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestSCTP","Elapsed":0}
{"Action":"pass","Package":"m/a","Elapsed":1.5}
go: downloading something
{"Action":"skip","Package":"m/b","Elapsed":0}
`

const failing = `{"Action":"run","Package":"m/c","Test":"TestTwo"}
{"Action":"run","Package":"m/c","Test":"TestTwo/x"}
{"Action":"output","Package":"m/c","Test":"TestTwo/x","Output":"    c_test.go:9: it is 2\n"}
{"Action":"fail","Package":"m/c","Test":"TestTwo/x","Elapsed":0.1}
{"Action":"fail","Package":"m/c","Test":"TestTwo","Elapsed":0.1}
{"Action":"fail","Package":"m/c","Elapsed":0.1}
`

const unbuilt = `{"ImportPath":"m/d","Action":"build-output","Output":"d.go:3: syntax error\n"}
{"ImportPath":"m/d","Action":"build-fail"}
{"Action":"start","Package":"m/d"}
{"Action":"output","Package":"m/d","Output":"FAIL\tm/d [build failed]\n"}
{"Action":"fail","Package":"m/d","Elapsed":0,"FailedBuild":"m/d"}
`

func TestReport(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in, list string
		ci, ok         bool
		says           []string
	}{
		{"well", stream, "", false, true, []string{"m/a  ", "2 passed   0 failed   1 skipped     1.5s", "m/a.TestSCTP: a_test.go:7: no SCTP sockets", "go: downloading something", "\n2 passed, 0 failed\n"}},
		{"listed", stream, "# why\nm/a.TestSCTP the kernel has none\n", true, true, []string{"2 passed, 0 failed"}},
		{"unlisted", stream, "", true, false, []string{"m/a.TestSCTP was skipped", "2 passed, 1 failed"}},
		{"ran", stream, "m/a.TestSCTP x\nm/a.TestOne/x y\n", true, false, []string{"m/a.TestOne/x ran", "2 passed, 1 failed"}},
		{"unknown", stream, "m/a.TestSCTP x\nm/a.TestGone y\n", true, false, []string{"m/a.TestGone is on the list", "2 passed, 1 failed"}},
		{"failing", stream + failing, "", false, false, []string{"c_test.go:9: it is 2", "2 passed, 1 failed"}},
		{"unbuilt", stream + unbuilt, "", false, false, []string{"d.go:3: syntax error", "2 passed, 1 failed"}},
		{"nothing", "", "", false, false, []string{"0 passed, 0 failed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			list, summary := filepath.Join(dir, "not-run"), filepath.Join(dir, "summary")
			if err := os.WriteFile(list, []byte(tt.list), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			ok, err := report(strings.NewReader(tt.in), &out, list, summary, tt.ci)
			if err != nil || ok != tt.ok {
				t.Errorf("it is ok: %t (%v), and should be: %t\n%s", ok, err, tt.ok, &out)
			}
			for _, s := range tt.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("it does not say %q:\n%s", s, &out)
				}
			}
			if line, err := os.ReadFile(summary); err != nil || !strings.HasSuffix(out.String(), "\n"+string(line)) {
				t.Errorf("the summary is %q (%v)", line, err)
			}
		})
	}
}

func TestListNeedsReasons(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "not-run")
	if err := os.WriteFile(list, []byte("m/a.TestSCTP\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readList(list); err == nil {
		t.Error("a test without a reason was taken")
	}
	if _, err := readList(list + ".gone"); err == nil {
		t.Error("a list that is not there was taken")
	}
}
