// SPDX-License-Identifier: Apache-2.0

package kerneltest

import "testing"

func TestBelow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, pattern, want string }{
		{"TestA", "", ""},
		{"TestA", "TestA", ""},
		{"TestA", "TestA/x", "/x"},
		{"TestA", "TestA/x/y", "/x/y"},
		{"TestA/x", "TestA/x/y", "/y"},
		{"TestA/x", "TestA", ""},
		{"TestA", "TestA/x|TestB/y", ""},
		{"TestA", "TestA/[x/y]", ""},
	} {
		if got := below(test.name, test.pattern); got != test.want {
			t.Errorf("below(%q, %q) = %q, want %q", test.name, test.pattern, got, test.want)
		}
	}
}

func TestParseOutput(t *testing.T) {
	t.Parallel()
	out := parseOutput([]byte("\x16=== RUN   TestA\n\x16=== RUN   TestA/x\n    a_test.go:1: said\nno end\x16--- SKIP: TestA/x (0.00s)\n" +
		"\x16--- PASS: TestA (0.10s)\nPASS\ncoverage: 1.0% of statements\n"))
	want := "    a_test.go:1: said\nno end\n--- SKIP: TestA/x (0.00s)\n--- PASS: TestA (0.10s)"
	if out.text != want {
		t.Errorf("text %q, want %q", out.text, want)
	}
	if out.result("TestA") != "PASS" || out.result("TestA/x") != "SKIP" || out.result("TestB") != "" {
		t.Errorf("verdicts %v", out.verdicts)
	}
}
