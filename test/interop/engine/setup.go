// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/libnetwork/cnm/test/interop/place"
)

// The variables of the environment by which make test-interop says where things
// are.
const (
	enginesVariable = "CNM_INTEROP_ENGINES" // the folder that .ci/interop-setup prints
	cnmVariable     = "CNM_INTEROP_CNM"     // the binary that is tried
)

// NewPlace makes a place that has the engines. See [place.New].
func NewPlace(t testing.TB) *place.Place {
	t.Helper()
	return place.New(t, place.Config{Unpacked: filepath.Join(folder(t, enginesVariable), "root")})
}

// folder is what a variable names.
func folder(t testing.TB, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if _, err := os.Stat(path); path == "" || err != nil {
		t.Fatalf("%s is %q, which is not there: run this with make test-interop, or see test/interop/README.md", variable, path)
	}
	return path
}

// Program is the path of the binary that is tried.
func Program(t testing.TB) string {
	t.Helper()
	return folder(t, cnmVariable)
}
