// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"flag"
	"regexp"
	"strings"
	"time"
)

// testArgs gives the arguments with which the test binary runs exactly the test
// name: the flags that this process was given, less those that name files which
// two processes would both write.
func testArgs(name string, timeout time.Duration, coverDir string) []string {
	args := []string{
		"-test.run=" + exactly(name) + below(name, flagValue("test.run")),
		"-test.v=test2json", // marks its verdict lines, so that output cannot be taken for one
		"-test.count=1",
		"-test.paniconexit0",
	}
	if timeout > 0 {
		args = append(args, "-test.timeout="+timeout.String())
	}
	if coverDir != "" {
		args = append(args, "-test.gocoverdir="+coverDir)
	}
	for _, keep := range []string{"test.short", "test.skip", "test.parallel"} {
		if value := flagValue(keep); value != "" {
			args = append(args, "-"+keep+"="+value)
		}
	}
	return append(args, ownFlags()...)
}

// ownFlags gives the flags that the tested package defined itself and that were
// set, such as -update.
func ownFlags() []string {
	var args []string
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return args
}

// exactly gives the -test.run pattern that matches one test and its subtests.
func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// below gives the part of a plain -test.run pattern that chooses among the
// subtests of name, so that a subtest can be run alone. A pattern with
// alternatives or classes is not taken apart: all subtests run then.
func below(name, pattern string) string {
	if strings.ContainsAny(pattern, `|[(\`) {
		return ""
	}
	depth := strings.Count(name, "/") + 1
	parts := strings.Split(pattern, "/")
	if len(parts) <= depth {
		return ""
	}
	return "/" + strings.Join(parts[depth:], "/")
}

// flagValue gives the value of a flag of this process, or "" without it.
func flagValue(name string) string {
	if f := flag.Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}
