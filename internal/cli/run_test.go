// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/libnetwork/cnm/api/wire"
)

// answers is a daemon that answers each request as the test says, and notes the requests.
type answers struct {
	to    map[string][]any // what "METHOD PATH" gets, in order, the last one again and again
	asked []string
}

// refusal is an error and the status that it comes with.
type refusal struct {
	status int
	wire.Error
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.Method + " " + r.URL.Path
	a.asked = append(a.asked, what)
	given := a.to[what]
	if len(given) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if len(given) > 1 {
		a.to[what] = given[1:]
	}
	var body any = given[0]
	if e, ok := body.(refusal); ok {
		w.WriteHeader(e.status)
		body = e.Error
	}
	_ = json.NewEncoder(w).Encode(body)
}

// serve answers at a socket until the test ends. Requests come one at a time.
func (a *answers) serve(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: a}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-ended })
	return path
}

// TestRunMakesTheNetwork looks at what run asks for where others make and delete the network default meanwhile, and what it
// deletes of it where the command does not begin.
func TestRunMakesTheNetwork(t *testing.T) {
	t.Parallel()
	none := refusal{404, wire.Error{Kind: "not_found", Field: "network", Message: "no network"}}
	gone := refusal{404, wire.Error{Kind: "not_found", Field: "sandbox", Message: "no sandbox"}}
	there := refusal{409, wire.Error{Kind: "exists", Field: "name", Message: "network exists"}}
	taken := refusal{409, wire.Error{Kind: "exists", Field: "publish", Message: "port is held"}}
	busy := refusal{409, wire.Error{Kind: "busy", Field: "network", Message: "network is in use"}}
	broken := refusal{500, wire.Error{Kind: "internal", Message: "disk full"}}
	network, endpoint := wire.Network{ID: "n1"}, wire.Endpoint{}
	const attach, create, sandbox, remove = "POST /v1/attach", "POST /v1/networks", "DELETE /v1/sandboxes/s1", "DELETE /v1/networks/n1"
	for name, tc := range map[string]struct {
		attach, create, remove []any
		command                []string
		status                 int
		want                   []string // without the first request, which makes the sandbox, and that to enter it
	}{
		"it is there":               {[]any{endpoint}, nil, nil, []string{"exit", "0"}, 0, []string{attach, sandbox}},
		"it is there, no command":   {[]any{endpoint}, nil, nil, []string{"cannot", "127"}, 127, []string{attach, sandbox}},
		"made":                      {[]any{none, endpoint}, []any{network}, nil, []string{"exit", "4"}, 4, []string{attach, create, attach, sandbox}},
		"made, no command":          {[]any{none, endpoint}, []any{network}, nil, []string{"cannot", "127"}, 127, []string{attach, create, attach, sandbox, remove}},
		"made, and used by another": {[]any{none, endpoint}, []any{network}, []any{busy}, []string{"cannot", "126"}, 126, []string{attach, create, attach, sandbox, remove}},
		"made, and gone":            {[]any{none, endpoint}, []any{network}, []any{none}, []string{"cannot", "126"}, 126, []string{attach, create, attach, sandbox, remove}},
		"made, not deleted":         {[]any{none, endpoint}, []any{network}, []any{broken}, []string{"cannot", "126"}, 126, []string{attach, create, attach, sandbox, remove}},
		"made, not attached":        {[]any{none, taken}, []any{network}, nil, []string{"exit", "0"}, 125, []string{attach, create, attach, sandbox, remove}},
		"made by another":           {[]any{none, endpoint}, []any{there}, nil, []string{"cannot", "127"}, 127, []string{attach, create, attach, sandbox}},
		"deleted by another":        {[]any{none, none, endpoint}, []any{there, network}, nil, []string{"exit", "0"}, 0, []string{attach, create, attach, create, attach, sandbox}},
		"the sandbox is gone":       {[]any{gone}, nil, nil, []string{"exit", "0"}, 125, []string{attach, sandbox}},
		"not made":                  {[]any{none}, []any{broken}, nil, []string{"exit", "0"}, 125, []string{attach, create, sandbox}},
		"its subnet is taken":       {[]any{none}, []any{taken}, nil, []string{"exit", "0"}, 125, []string{attach, create, sandbox}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &answers{to: map[string][]any{
				"POST /v1/sandboxes": {wire.Sandbox{ID: "s1"}}, "POST /v1/sandboxes/s1/enter": {wire.Entry{ID: "s1"}},
				attach: tc.attach, create: tc.create, remove: tc.remove,
			}}
			c := newConsole(t)
			c.Environ = []string{"CNM_SOCKET=" + a.serve(t)}
			if got := c.run(t.Context(), append([]string{"run", "--"}, tc.command...)...); got != tc.status {
				t.Errorf("it ended with %d, want %d, and said %s", got, tc.status, c.err)
			}
			asked := slices.DeleteFunc(a.asked[1:], func(s string) bool { return s == "POST /v1/sandboxes/s1/enter" })
			if !slices.Equal(asked, tc.want) {
				t.Errorf("it asked for %s, want %s", fmt.Sprint(asked), fmt.Sprint(tc.want))
			}
		})
	}
}
