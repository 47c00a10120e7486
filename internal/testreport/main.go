// SPDX-License-Identifier: Apache-2.0

// Testreport reads what go test -json prints and says, for each package, what passed, failed and was skipped and how long it took, with
// the output of what failed, and at the end what was skipped and why.
//
//	go test -json ./... | testreport [-not-run FILE] [-summary FILE]
//
// It ends with the line "N passed, N failed" and status 1 if anything failed or nothing ran. Where CI=true a skipped test
// that FILE does not list is a failure, and so is one that it lists and that ran.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	notRun := flag.String("not-run", ".ci/not-run", "the `file` that lists tests that may be skipped in CI")
	summary := flag.String("summary", "", "write the last line to this `file` too")
	flag.Parse()
	ok, err := report(os.Stdin, os.Stdout, *notRun, *summary, os.Getenv("CI") == "true")
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// report does it all, and tells whether all is well.
func report(in io.Reader, out io.Writer, notRun, summary string, ci bool) (bool, error) {
	r := newResults(out)
	if err := r.read(in); err != nil {
		return false, err
	}
	if ci {
		allowed, err := readList(notRun)
		if err != nil {
			return false, err
		}
		r.judge(allowed)
	}
	line := r.conclude()
	if summary == "" {
		return r.ok(), nil
	}
	return r.ok(), os.WriteFile(summary, []byte(line+"\n"), 0o644)
}
