// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// world makes a network front, a sandbox web on it, and an endpoint front/spare.
func world(r *rig) {
	r.t.Helper()
	want[wire.Network](r, "POST", "/v1/networks", `{"name":"front","labels":{"tier":"1"},"options":{"bridge":"br7"},"ipv6":false}`)
	want[wire.Sandbox](r, "POST", "/v1/sandboxes", `{"name":"web"}`)
	want[wire.Endpoint](r, "POST", "/v1/attach", `{"sandbox":"web","network":"front","publish":["8080:80"]}`)
	want[wire.Endpoint](r, "POST", "/v1/endpoints", `{"network":"front","name":"spare"}`)
}

// concrete is a route's method and path with names in it.
func concrete(rt *route) (method, path string) {
	method, path, _ = strings.Cut(rt.pattern, " ")
	return method, strings.NewReplacer("{network}", "front", "{sandbox}", "web", "{name}", "spare", "{id}", "0123", "{driver}", "bridge").Replace(path)
}

// TestEveryRouteTimesEveryRole: who has not the role gets 403 and nothing happens; who has it gets anything but 403.
func TestEveryRouteTimesEveryRole(t *testing.T) {
	t.Parallel()
	unknown := func(s *Server) { s.peer = func(net.Conn) (Peer, error) { return Peer{}, errors.New("who is it") } }
	for name, c := range map[string]struct {
		peer   Peer
		role   Role
		change []func(*Server)
	}{
		"root": {root(), Change, nil}, "member": {member(), Change, nil}, "primary group": {Peer{UID: 7, GID: 990}, Change, nil},
		"reader": {reader(), ReadNetworks, nil}, "unknown": {Peer{}, 0, []func(*Server){unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, rt := range routes() {
				if rt.stream != nil && c.role >= rt.role {
					continue // TestEvents
				}
				r := newRig(t, c.peer, c.change...)
				method, path := concrete(&rt)
				body := ""
				if rt.body {
					body = "{}"
				}
				status, text := r.do(method, path, body)
				if allowed := c.role >= rt.role; allowed == (status == http.StatusForbidden) {
					t.Errorf("%s as %s: %d %s", rt.pattern, name, status, text)
				}
			}
		})
	}
}

func TestRouteWithoutRoleIsRefused(t *testing.T) {
	t.Parallel()
	answer := func(*Server, context.Context, *call) (any, error) { return nil, nil }
	stream := func(*Server, context.Context, *call) error { return nil }
	s := &Server{}
	for _, bad := range []route{
		{pattern: "GET /x", serve: answer},
		{pattern: "GET /x", serve: answer, role: Change + 1},
		{pattern: "GET /x", role: Change},
		{pattern: "GET /x", role: Change, serve: answer, stream: stream},
	} {
		if _, err := s.register([]route{bad}); err == nil {
			t.Errorf("%+v was registered", bad)
		}
	}
}

func TestReaderSeesNetworksAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	world(r)
	r.become(reader())
	for _, path := range []string{"/v1/networks", "/v1/networks/front", "/v1/networks?filter=name=fr*"} {
		_, text := r.do("GET", path, "")
		if !strings.Contains(text, `"front"`) || !strings.Contains(text, "192.0.2.0/24") {
			t.Errorf("%s: %s", path, text)
		}
		for _, secret := range []string{"label", "tier", "option", "br7", "spare", "web", "\"endpoints\""} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q: %s", path, secret, text)
			}
		}
	}
	for _, filter := range []string{"label=tier", "sandbox=web"} {
		_, err := r.refused("GET", "/v1/networks?filter="+filter, "")
		isKind(t, err, cnm.NotPermitted, "needs root")
	}
}

// TestEveryKindTravels: what the controller answers is what the caller gets, with the status of the table.
func TestEveryKindTravels(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	for _, k := range cnm.Kinds() {
		r.fake.Fail("CreateNetwork", &cnm.Error{Kind: k.Kind, Field: "subnet", Network: "n1", Err: errors.New("why not")})
		status, err := r.refused("POST", "/v1/networks", `{"name":"a"}`)
		var e *cnm.Error
		if !errors.As(err, &e) || status != k.HTTP || e.Kind != k.Kind || e.Field != "subnet" || e.Network != "n1" || err.Error() != "network create: why not" {
			t.Errorf("%v came as %d %+v", k.Kind, status, err)
		}
	}
}

func TestStrictness(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	t.Cleanup(func() {
		if recs := r.fake.Records(context.WithoutCancel(t.Context())); len(recs.Networks) > 0 {
			t.Errorf("a refused request made %v", recs.Networks)
		}
	})
	header := func(key, value string) *http.Request {
		req := r.request("POST", "/v1/networks", `{"name":"a"}`)
		req.Header.Set(key, value)
		return req
	}
	host := r.request("GET", "/livez", "")
	host.Host = "evil.example"
	chunked := r.request("GET", "/v1/networks", "{}")
	chunked.ContentLength = -1
	for name, c := range map[string]struct {
		req    *http.Request
		status int
		kind   cnm.Kind
		text   string
	}{
		"unknown field":   {r.request("POST", "/v1/networks", `{"name":"a","colour":"red"}`), 400, cnm.Invalid, `network create: field "colour" is unknown`},
		"trailing":        {r.request("POST", "/v1/networks", `{"name":"a"}{}`), 400, cnm.Invalid, "more after"},
		"twice":           {r.request("POST", "/v1/networks", `{"name":"a","name":"b"}`), 400, cnm.Invalid, "twice"},
		"no body":         {r.request("POST", "/v1/networks", ""), 415, cnm.Invalid, "not application/json"},
		"large":           {r.request("POST", "/v1/networks", `{"name":"`+strings.Repeat("a", 1<<20)+`"}`), 413, cnm.Invalid, "larger than 1048576"},
		"form":            {header("Content-Type", "application/x-www-form-urlencoded"), 415, cnm.Invalid, "not application/json"},
		"charset":         {header("Content-Type", "application/json; charset=latin1"), 415, cnm.Invalid, "not application/json"},
		"origin":          {header("Origin", "http://a"), 403, cnm.NotPermitted, "browser"},
		"referer":         {header("Referer", "http://a"), 403, cnm.NotPermitted, "browser"},
		"fetch":           {header("Sec-Fetch-Site", "none"), 403, cnm.NotPermitted, "browser"},
		"host":            {host, 403, cnm.NotPermitted, "evil.example"},
		"query":           {r.request("GET", "/v1/networks?x=1", ""), 400, cnm.Invalid, `query "x"`},
		"bad query":       {r.request("GET", "/v1/networks?%zz", ""), 400, cnm.Invalid, "query"},
		"force":           {r.request("DELETE", "/v1/networks/a?force=1", ""), 400, cnm.Invalid, "true or false"},
		"body on a read":  {r.request("GET", "/v1/networks", "{}"), 400, cnm.Invalid, "takes no body"},
		"chunks on one":   {chunked, 400, cnm.Invalid, "takes no body"},
		"method":          {r.request("PUT", "/v1/networks", "{}"), 405, cnm.Invalid, "GET, HEAD, POST"},
		"no route":        {r.request("GET", "/v2/networks", ""), 404, cnm.Unsupported, "no /v2/networks"},
		"zero timeout":    {header("X-Cnm-Timeout", "0s"), 400, cnm.Invalid, "positive duration"},
		"strange timeout": {header("X-Cnm-Timeout", "soon"), 400, cnm.Invalid, "positive duration"},
		"not there":       {r.request("GET", "/v1/networks/nope", ""), 404, cnm.NotFound, "nope"},
		"filter":          {r.request("GET", "/v1/networks?filter=colour=red", ""), 400, cnm.Invalid, "colour"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, err := r.refusal(c.req)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			isKind(t, err, c.kind, c.text)
		})
	}
}

func TestLogsChangesAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, member())
	world(r)
	r.do("GET", "/v1/networks", "")
	_, _ = r.refused("DELETE", "/v1/networks/front", "")
	lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines for 5 changes:\n%s", len(lines), r.log)
	}
	for i, parts := range [][]string{
		{`"call":"network create"`, `"network":"front"`, `"uid":1000`, `"pid":3`, `"role":"change"`, `"network_id":"`},
		{`"call":"sandbox create"`, `"sandbox":"web"`},
		{`"call":"attach"`, `"sandbox":"web"`, `"network":"front"`, `"endpoint_id":"`},
		{`"call":"endpoint create"`, `"endpoint":"front/spare"`},
		{`"call":"network delete"`, `"level":"WARN"`, `"kind":"busy"`, `"path":"/v1/networks/front"`, `"err":"`},
	} {
		for _, part := range parts {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %s has no %s", lines[i], part)
			}
		}
	}
}
