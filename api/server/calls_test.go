// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/server/servertest"
	"github.com/libnetwork/cnm/api/wire"
)

func TestNetworkCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	world(r)
	nw := want[wire.Network](r, "GET", "/v1/networks/FRONT", "")
	if nw.Name != "front" || !slices.Equal(nw.Endpoints, []string{"web", "spare"}) || nw.Labels["tier"] != "1" || nw.Options["bridge"] != "br7" || nw.IPv6 || !nw.IPv4 {
		t.Errorf("got %+v", nw)
	}
	if byID := want[wire.Network](r, "GET", "/v1/networks/"+string(nw.ID[:6]), ""); byID.ID != nw.ID {
		t.Errorf("by prefix %+v", byID)
	}
	_, err := r.refused("DELETE", "/v1/networks/front", "")
	isKind(t, err, cnm.Busy, "network delete: the network has endpoints")
	if status, text := r.do("DELETE", "/v1/networks/front?force=true", ""); status != 204 || text != "" {
		t.Errorf("forced: %d %s", status, text)
	}
	if all := want[[]wire.Network](r, "GET", "/v1/networks", ""); all == nil || len(all) != 0 {
		t.Errorf("left: %v", all)
	}
}

func TestSandboxCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	world(r)
	sb := want[wire.Sandbox](r, "GET", "/v1/sandboxes/web", "")
	if len(sb.Endpoints) != 1 || sb.Endpoints[0].Network != "front" || sb.Endpoints[0].Sandbox != "web" || !sb.Owned || sb.NamespaceCookie == 0 {
		t.Errorf("got %+v", sb)
	}
	entry := want[wire.Entry](r, "POST", "/v1/sandboxes/web/enter", "")
	if entry.Namespace != sb.Namespace || entry.NamespaceCookie != sb.NamespaceCookie || entry.Files.ResolvConf != "/run/cnm/resolv.conf" {
		t.Errorf("entry %+v", entry)
	}
	if status, _ := r.do("DELETE", "/v1/sandboxes/web", ""); status != 204 {
		t.Errorf("delete: %d", status)
	}
	if eps := want[[]wire.Endpoint](r, "GET", "/v1/endpoints", ""); len(eps) != 1 || eps[0].Name != "spare" {
		t.Errorf("left: %+v", eps)
	}
}

// TestProvide: a sandbox on two networks in one call, deleted by whoever knows its labels.
func TestProvide(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	for _, name := range []string{"front", "back"} {
		want[wire.Network](r, "POST", "/v1/networks", `{"name":"`+name+`"}`)
	}
	got := want[wire.Provided](r, "POST", "/v1/provide", `{"name":"web","pid":7,"labels":{"a":"b=c","d":"e"},"attach":[
		{"network":"front","aliases":["www"],"interface":"up0"},{"network":"BACK","name":"db","mac":"02:00:00:00:00:07","gateway_priority":3}],"publish":["8080:80"]}`)
	sb := got.Sandbox
	if sb.Name != "web" || sb.PID != 7 || got.Files.Hosts != "/run/cnm/hosts" {
		t.Errorf("got %+v", got)
	}
	all := want[[]wire.Endpoint](r, "GET", "/v1/endpoints?filter=sandbox=web", "")
	if len(all) != 2 || all[0].Network != "front" || all[0].Name != "web" || all[0].Interface != "up0" || !slices.Equal(all[0].Aliases, []string{"www"}) ||
		all[1].Network != "back" || all[1].Name != "db" || all[1].MAC.String() != "02:00:00:00:00:07" || len(all[0].Ports) != 1 {
		t.Errorf("got %+v", all)
	}
	for query, kind := range map[string]cnm.Kind{
		"label=a=b": cnm.NotFound, "label=x=": cnm.NotFound, "label=a=b%3Dc&label=d=f": cnm.NotFound, "label=a": cnm.Invalid, "label==b": cnm.Invalid, "labels=a=b": cnm.Invalid,
	} {
		_, err := r.refused("DELETE", "/v1/sandboxes/web?"+query, "")
		isKind(t, err, kind, "label")
	}
	if status, body := r.do("DELETE", "/v1/sandboxes/web?label=a=b%3Dc&label=d=e", ""); status != http.StatusNoContent {
		t.Errorf("%d %s", status, body)
	}
	for _, c := range []struct {
		body string
		kind cnm.Kind
	}{
		{`{"name":"web","attach":[{"network":"front"},{"network":"none"}]}`, cnm.NotFound},
		{`{"name":"web","attach":[{"network":"front","mac":"x"}]}`, cnm.Invalid},
		{`{"name":"web","attach":[{"network":"front","sandbox":"other"}]}`, cnm.Invalid},
		{`{"name":"web","pid":-1}`, cnm.Invalid},
		{`{"name":"web","publish":["x"]}`, cnm.Invalid},
		{`{"name":"web","attach":[{"network":"front"},{"network":"back","name":"a b"}]}`, cnm.Invalid},
		{`{"name":"web","publish":["80"]}`, cnm.NotFound},
		{`{"name":"web","attach":[{"network":"front"}],"publish":["80"],"unknown":"true"}`, cnm.Invalid},
	} {
		_, err := r.refused("POST", "/v1/provide", c.body)
		isKind(t, err, c.kind, "")
	}
	if left := want[[]wire.Sandbox](r, "GET", "/v1/sandboxes", ""); len(left) != 0 {
		t.Errorf("left %+v", left)
	}
}

func TestEndpointCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	world(r)
	spare := want[wire.Endpoint](r, "GET", "/v1/endpoints/front/spare", "")
	if again := want[wire.Endpoint](r, "GET", "/v1/endpoints/"+string(spare.ID), ""); again.Name != "spare" || again.Network != "front" {
		t.Errorf("by ID %+v", again)
	}
	if spare.State != cnm.Ready || spare.Sandbox != "" {
		t.Errorf("spare %+v", spare)
	}
	want[wire.Sandbox](r, "POST", "/v1/sandboxes", `{"name":"db"}`)
	joined := want[wire.Endpoint](r, "POST", "/v1/join", `{"endpoint":"front/spare","sandbox":"db","interface":"lan0","gateway_priority":3}`)
	if joined.Interface != "lan0" || joined.Sandbox != "db" || joined.State != cnm.Joined || joined.GatewayPriority != 3 {
		t.Errorf("joined %+v", joined)
	}
	_, err := r.refused("DELETE", "/v1/endpoints/front/spare", "")
	isKind(t, err, cnm.Busy, "in a sandbox")
	if status, text := r.do("POST", "/v1/leave", `{"endpoint":"`+string(spare.ID)+`"}`); status != 204 {
		t.Errorf("leave: %d %s", status, text)
	}
	if status, text := r.do("DELETE", "/v1/endpoints/"+string(spare.ID), ""); status != 204 {
		t.Errorf("delete: %d %s", status, text)
	}
	if status, text := r.do("POST", "/v1/detach", `{"sandbox":"web","network":"front"}`); status != 204 {
		t.Errorf("detach: %d %s", status, text)
	}
	if eps := want[[]wire.Endpoint](r, "GET", "/v1/endpoints", ""); len(eps) != 0 {
		t.Errorf("left: %+v", eps)
	}
}

func TestPublishCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	world(r)
	ports := func(eps []wire.Endpoint) (out []uint16) {
		for _, p := range eps[0].Ports {
			out = append(out, p.HostPort)
		}
		return out
	}
	got := ports(want[[]wire.Endpoint](r, "POST", "/v1/publish", `{"sandbox":"web","add":["9000:90"],"remove":["8080:80"]}`))
	if !slices.Equal(got, []uint16{9000}) {
		t.Errorf("swapped to %v", got)
	}
	got = ports(want[[]wire.Endpoint](r, "POST", "/v1/publish", `{"sandbox":"web","network":"front","add":["53/udp"]}`))
	if !slices.Equal(got, []uint16{9000, 49152}) {
		t.Errorf("added to %v", got)
	}
	got = ports(want[[]wire.Endpoint](r, "POST", "/v1/publish", `{"endpoint":"front/web","remove":["9000:90"]}`))
	if !slices.Equal(got, []uint16{49152}) {
		t.Errorf("left %v", got)
	}
	_, err := r.refused("POST", "/v1/publish", `{"sandbox":"web","remove":["1:1"]}`)
	isKind(t, err, cnm.NotFound, "publish: 1:1/tcp is not published")
}

func TestPrune(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	world(r)
	want[wire.Network](r, "POST", "/v1/networks", `{"name":"empty","labels":{"tmp":"1"}}`)
	want[wire.Network](r, "POST", "/v1/networks", `{"name":"vacant"}`)
	want[wire.Sandbox](r, "POST", "/v1/sandboxes", `{"name":"idle"}`)
	want[wire.Endpoint](r, "POST", "/v1/endpoints", `{"network":"front","name":"kept","keep":true}`)
	for _, c := range []struct{ noun, body, want string }{
		{"networks", `{"dry_run":true}`, "empty vacant"},
		{"networks", `{"filters":["label=tmp"]}`, "empty"},
		{"networks", `{}`, "vacant"},
		{"networks", `{}`, ""},
		{"sandboxes", `{}`, "idle"},
		{"endpoints", `{"filters":["network=vacant"]}`, ""},
		{"endpoints", `{}`, "front/spare"},
	} {
		got := want[wire.Pruned](r, "POST", "/v1/"+c.noun+"/prune", c.body)
		if strings.Join(got.Deleted, " ") != c.want || len(got.Errors) != 0 {
			t.Errorf("%s %s deleted %v, errors %v; want %q", c.noun, c.body, got.Deleted, got.Errors, c.want)
		}
	}
	want[wire.Network](r, "POST", "/v1/networks", `{"name":"stuck"}`)
	r.fake.Fail("DeleteNetwork", cnm.Errorf(cnm.Internal, "the kernel says no"))
	got := want[wire.Pruned](r, "POST", "/v1/networks/prune", `{}`)
	if len(got.Deleted) != 0 || len(got.Errors) != 1 || got.Errors[0].Message != "the kernel says no" {
		t.Errorf("got %+v", got)
	}
	r.fake.Fail("DeleteNetwork", cnm.Errorf(cnm.Busy, "somebody was quicker"))
	if got := want[wire.Pruned](r, "POST", "/v1/networks/prune", `{}`); len(got.Deleted)+len(got.Errors) != 0 {
		t.Errorf("got %+v", got)
	}
	// Whether a sandbox is in use is for the controller to say, when nobody can join it any more.
	want[wire.Sandbox](r, "POST", "/v1/sandboxes", `{"name":"wanted"}`)
	r.fake.Fail("PruneSandbox", cnm.Errorf(cnm.Busy, "somebody was quicker"))
	if got := want[wire.Pruned](r, "POST", "/v1/sandboxes/prune", `{}`); len(got.Deleted)+len(got.Errors) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	world(r)
	want[wire.Network](r, "POST", "/v1/networks", `{"name":"back","driver":"null","labels":{"tier":"2"}}`)
	want[wire.Sandbox](r, "POST", "/v1/sandboxes", `{"name":"db"}`)
	type object struct{ ID, Name string }
	id := want[object](r, "GET", "/v1/networks/front", "").ID
	for _, c := range []struct{ path, want string }{
		{"networks", "front back"},
		{"networks?filter=name=FR*", "front"},
		{"networks?filter=name=front&filter=name=back", "front back"},
		{"networks?filter=name=front&filter=driver=null", ""},
		{"networks?filter=id=" + id[:5], "front"},
		{"networks?filter=label=tier", "front back"},
		{"networks?filter=label=tier=2", "back"},
		{"networks?filter=driver=bridge", "front"},
		{"networks?filter=state=ready", "front back"},
		{"networks?filter=sandbox=web", "front"},
		{"networks?filter=network=back", "back"},
		{"sandboxes?filter=network=front", "web"},
		{"sandboxes?filter=network=" + id[:4], "web"},
		{"sandboxes?filter=network=" + id[:3], ""},
		{"sandboxes?filter=driver=bridge", "web"},
		{"sandboxes?filter=sandbox=db", "db"},
		{"endpoints?filter=sandbox=web", "web"},
		{"endpoints?filter=state=joined", "web"},
		{"endpoints?filter=name=front/*", "web spare"},
		{"endpoints?filter=network=front&filter=name=spare", "spare"},
		{"endpoints?filter=driver=null", ""},
		{"drivers?filter=name=b*", "bridge"},
	} {
		var got []string
		for _, o := range want[[]object](r, "GET", "/v1/"+c.path, "") {
			got = append(got, o.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s gives %v, want %s", c.path, got, c.want)
		}
	}
	for _, bad := range []string{"networks?filter=name", "networks?filter=name=", "networks?filter=name=[", "drivers?filter=state=ready"} {
		_, err := r.refused("GET", "/v1/"+bad, "")
		isKind(t, err, cnm.Invalid, "filter")
	}
}

func TestDrivers(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	d := want[wire.Driver](r, "GET", "/v1/drivers/bridge", "")
	if len(d.Options) != 2 || d.Options[1].Default != "true" || !d.Publishes {
		t.Errorf("got %+v", d)
	}
	_, err := r.refused("GET", "/v1/drivers/token-ring", "")
	isKind(t, err, cnm.NotFound, "there are bridge, host, null")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	resp, err := r.client.Do(r.request("GET", "/livez", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Server") != "cnm/1.2.3" {
		t.Errorf("livez %d %v", resp.StatusCode, resp.Header)
	}
	r.fake.Health = []Check{{Name: "store"}}
	if status, text := r.do("GET", "/readyz", ""); status != 200 || text != "ready\n" {
		t.Errorf("%d %q", status, text)
	}
	r.fake.Health = []Check{{Name: "store"}, {Name: "firewall", Err: errors.New("not ours")}}
	if status, text := r.do("GET", "/readyz?verbose", ""); status != 503 || text != "[+] store\n[-] firewall: not ours\nnot ready\n" {
		t.Errorf("%d %q", status, text)
	}
	r.become(reader())
	if status, text := r.do("GET", "/readyz", ""); status != 503 || text != "not ready\n" {
		t.Errorf("reader: %d %q", status, text)
	}
	_, err = r.refused("GET", "/readyz?verbose", "")
	isKind(t, err, cnm.NotPermitted, "may not see")
}

func TestEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, root())
	resp, err := r.client.Do(r.request("GET", "/v1/events", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "application/jsonl" {
		t.Errorf("header %v", resp.Header)
	}
	want[wire.Network](r, "POST", "/v1/networks", `{"name":"front"}`)
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() {
		t.Fatal("no event")
	}
	var e wire.Event
	if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Object != "network" || e.Action != "create" || e.Name != "front" {
		t.Errorf("%s: %+v, %v", lines.Bytes(), e, err)
	}
	// The end of the daemon ends the stream, and does not wait for its readers.
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	if lines.Scan() {
		t.Errorf("after the end: %s", lines.Bytes())
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// slow is a controller whose Attach waits for its context, or for leave.
type slow struct {
	*servertest.Fake
	entered chan struct{}
	leave   chan struct{}
	left    chan error
}

func (s *slow) Attach(ctx context.Context, _ cnm.AttachSpec) (cnm.Attachment, error) {
	close(s.entered)
	select {
	case <-ctx.Done():
		s.left <- ctx.Err()
		return cnm.Attachment{}, cnm.Errorf(cnm.Unavailable, "waiting for a plugin: %w", ctx.Err())
	case <-s.leave:
		return cnm.Attachment{}, nil
	}
}

func slowRig(t *testing.T, grace time.Duration) (*rig, *slow) {
	t.Helper()
	s := &slow{entered: make(chan struct{}), leave: make(chan struct{}), left: make(chan error, 1)}
	r := newRig(t, root(), func(srv *Server) {
		fake, ok := srv.ctl.(*servertest.Fake)
		if !ok {
			t.Fatal("the rig has no fake")
		}
		s.Fake = fake
		srv.ctl, srv.grace = s, grace
	})
	want[wire.Network](r, "POST", "/v1/networks", `{"name":"front"}`)
	want[wire.Sandbox](r, "POST", "/v1/sandboxes", `{"name":"web"}`)
	return r, s
}

const attachWeb = `{"sandbox":"web","network":"front"}`

func TestDeadlineReachesTheController(t *testing.T) {
	t.Parallel()
	r, s := slowRig(t, time.Minute)
	req := r.request("POST", "/v1/attach", attachWeb)
	req.Header.Set("X-Cnm-Timeout", "20ms")
	status, err := r.refusal(req)
	if status != 503 {
		t.Errorf("status %d", status)
	}
	isKind(t, err, cnm.Unavailable, "attach: waiting for a plugin: context deadline exceeded")
	if err := <-s.left; !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestCallerWhoLeavesEndsTheCall(t *testing.T) {
	t.Parallel()
	r, s := slowRig(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.entered; cancel() }()
	if resp, err := r.client.Do(r.request("POST", "/v1/attach", attachWeb).WithContext(ctx)); err == nil {
		resp.Body.Close()
		t.Error("it was answered")
	}
	if err := <-s.left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestCallsUnderWayEnd: stopping waits for a call that ends, and cuts off one that does not.
func TestCallsUnderWayEnd(t *testing.T) {
	t.Parallel()
	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		r, s := slowRig(t, time.Minute)
		answered := make(chan int, 1)
		go func() { status, _ := r.do("POST", "/v1/attach", attachWeb); answered <- status }()
		<-s.entered
		stopped := make(chan error, 1)
		go func() { stopped <- r.stop() }()
		<-r.server.stop
		close(s.leave)
		if status := <-answered; status != 200 {
			t.Errorf("status %d", status)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("never", func(t *testing.T) {
		t.Parallel()
		r, s := slowRig(t, time.Millisecond)
		cut := make(chan error, 1)
		go func() {
			resp, err := r.client.Do(r.request("POST", "/v1/attach", attachWeb))
			if err == nil {
				resp.Body.Close()
			}
			cut <- err
		}()
		<-s.entered
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if err := <-cut; err == nil {
			t.Error("it was answered")
		}
		if err := <-s.left; err == nil {
			t.Error("it was not told to end")
		}
	})
}

// TestSlowBodyIsNotWaitedFor: who announces a body and does not send it is let go.
func TestSlowBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, root(), func(s *Server) { s.bodyTimeout = 20 * time.Millisecond })
	conn, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/networks HTTP/1.1\r\nHost: cnm\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != 503 || !answer.Close {
		t.Errorf("status %d, close %v", answer.StatusCode, answer.Close)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection was not ended: %v", err)
	}
}
