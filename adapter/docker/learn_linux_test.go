// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

const engineSocket = "/run/docker.sock"

// twin answers as Docker's own API does.
type twin struct {
	r    *rig
	stop func()

	mu                   sync.Mutex // guards all below
	networks, containers []string   // JSON
	tellers              map[chan string]bool
	asked                map[string]bool // filters of events
}

func newTwin(r *rig) *twin {
	w := &twin{r: r, tellers: map[chan string]bool{}, asked: map[string]bool{}}
	r.t.Cleanup(func() { w.stop() })
	w.start()
	return w
}

func (w *twin) start() {
	w.r.t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(w.r.t.Context(), "unix", engineSocket)
	w.r.ok(err)
	mux := http.NewServeMux()
	list := func(items *[]string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			w.mu.Lock()
			defer w.mu.Unlock()
			fmt.Fprintf(out, "[%s]\n", strings.Join(*items, ","))
		}
	}
	mux.HandleFunc("GET /networks", list(&w.networks))
	mux.HandleFunc("GET /containers/json", list(&w.containers))
	mux.HandleFunc("GET /events", w.events)
	srv, ended := &http.Server{Handler: mux, ReadHeaderTimeout: patience}, make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(ln) }()
	w.stop = sync.OnceFunc(func() { _ = srv.Close(); <-ended })
}

// events streams until the connection ends.
func (w *twin) events(out http.ResponseWriter, req *http.Request) {
	mine := make(chan string, 16)
	w.mu.Lock()
	w.tellers[mine] = true
	w.asked[req.URL.Query().Get("filters")] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.tellers, mine)
	}()
	flush := http.NewResponseController(out)
	_ = flush.Flush()
	for {
		select {
		case text := <-mine:
			fmt.Fprintln(out, text)
			_ = flush.Flush()
		case <-req.Context().Done():
			return
		}
	}
}

// now sets what there is, and tells of it.
func (w *twin) now(networks, containers []string, event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.networks, w.containers = networks, containers
	for t := range w.tellers {
		select {
		case t <- event:
		default: // there are some to be read already
		}
	}
}

func dockerNetwork(id, name string) string {
	return fmt.Sprintf(`{"Name":"%s","Id":"%s","Created":"2026-08-01T10:00:00Z","Scope":"local","Driver":"cnm","EnableIPv6":false,
		"IPAM":{"Driver":"default","Options":{},"Config":[{"Subnet":"172.28.0.0/24"}]},"Internal":false,"Containers":{},"Options":{},"Labels":{"tier":"front","com.docker.network.id":"forged"}}`, name, id)
}

func dockerContainer(e *endpoint, name string) string {
	return fmt.Sprintf(`{"Id":"%s","Names":["/%s","/other/alias"],"Image":"busybox","State":"running","Labels":{"com.docker.compose.service":"web"},
		"HostConfig":{"NetworkMode":"web"},"NetworkSettings":{"Networks":{"web":{"NetworkID":"%s","EndpointID":"%s","IPAddress":"172.28.0.2"},"bridge":{"EndpointID":""}}}}`, id(), name, e.network, e.id)
}

// until waits for a change that makes it so.
func (r *rig) until(what string, so func() bool) {
	r.t.Helper()
	late, changes := r.late(), r.Events(r.t.Context())
	for !so() {
		select {
		case <-changes:
		case <-late:
			r.t.Fatalf("never: %s; there are %+v", what, r.Records(r.t.Context()))
		}
	}
}

// TestDockersNames learns names and labels at the start and by events, keeps what is ours, and comes back to a Docker that was away.
func TestDockersNames(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		w := newTwin(r)
		red := r.network("", "172.28.0.0/24")
		e := r.container(false).connect(red, "", "172.28.0.2/24")
		w.now([]string{dockerNetwork(red, "web")}, []string{dockerContainer(e, "web_1")}, "")
		r.stop()
		r.engine = engineSocket
		r.start()
		named := func(network, container string) func() bool {
			return func() bool {
				nw, err := r.LookupNetwork(network)
				if err != nil {
					return false
				}
				sb, err := r.LookupSandbox(container)
				if err != nil {
					return false
				}
				ep, err := r.LookupEndpoint(nw.Name, container)
				return err == nil && nw.Labels["com.docker.network.id"] == red && nw.Labels["tier"] == "front" &&
					nw.Labels["com.docker.network.name"] == network && sb.Labels["com.docker.container.name"] == container &&
					sb.Labels["com.docker.sandbox.key"] == e.c.key && ep.Labels["com.docker.compose.service"] == "web" && ep.Labels["com.docker.endpoint.id"] == e.id
			}
		}
		r.until("names at the start", named("web", "web_1"))
		w.now([]string{dockerNetwork(red, "web")}, []string{dockerContainer(e, "front")}, `{"Type":"container","Action":"rename"}`)
		r.until("names by an event", named("web", "front"))
		if _, err := r.LookupSandbox("web_1"); err == nil {
			t.Error("the old name leads to the sandbox still")
		}
		// A network that somebody else's bears the name of keeps ours, and has the labels.
		blue := r.network("", "172.29.0.0/24")
		w.now([]string{dockerNetwork(red, "web"), dockerNetwork(blue, "WEB")}, []string{dockerContainer(e, "front")}, `{"Type":"network","Action":"create"}`)
		r.until("labels without the name", func() bool {
			nw, err := r.LookupNetwork("docker-" + blue[:12])
			return err == nil && nw.Labels["com.docker.network.name"] == "WEB"
		})
		// Docker restarts.
		w.stop()
		w.start()
		r.until("names after Docker was away", func() bool {
			w.now([]string{dockerNetwork(red, "back"), dockerNetwork(blue, "web")}, []string{dockerContainer(e, "again")}, `{"Type":"network"}`)
			return named("back", "again")()
		})
		r.restart()
		if !named("back", "again")() {
			t.Error("names are lost with the daemon")
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.asked) != 1 {
			t.Errorf("events were asked for by %v", w.asked)
		}
	})
}

// TestForgottenNetwork ends networks that Docker has no more, once they are old enough to be in its list, and none that is in use.
func TestForgottenNetwork(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		gone, used, kept := r.network("", "172.28.0.0/24"), r.network("", "172.29.0.0/24"), r.network("", "172.30.0.0/24")
		e := r.container(false).connect(used, "", "172.29.0.2/24")
		w := newTwin(r)
		w.now([]string{dockerNetwork(kept, "kept")}, []string{dockerContainer(e, "c")}, "")
		r.stop()
		r.engine, r.abandoned = engineSocket, 300*time.Millisecond
		r.start()
		r.until("the network goes", func() bool {
			_, err := r.LookupNetwork(gone[:32])
			return err != nil
		})
		for _, id := range []string{used, kept} {
			if _, err := r.LookupNetwork(id[:32]); err != nil {
				t.Error(err)
			}
		}
		r.check()
		// Without an answer nothing is known, and nothing goes.
		w.stop()
		if err := os.Remove(engineSocket); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		r.restart()
		if _, err := r.LookupNetwork(kept[:32]); err != nil {
			t.Error(err)
		}
	})
}
