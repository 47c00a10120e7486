// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// A service runs in a sandbox that another unit made before, as the page on sandboxes for others says, and comes and goes in it.
func TestServiceInASandbox(t *testing.T) {
	t.Parallel()
	p := engine.NewPlace(t)
	s := engine.StartSystemd(t, p, map[string]string{
		"cnm.service":       "[Service]\nType=notify\nExecStart=CNM daemon\n",
		"hello-net.service": "[Unit]\nWants=cnm.service\nAfter=cnm.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStartPre=CNM network create web\nExecStart=CNM sandbox create hello\nExecStart=CNM attach hello web --publish 8080:80\nExecStopPost=-CNM sandbox rm hello\nExecStopPost=-CNM network rm web\n",
		"hello.service":     "[Unit]\nRequires=hello-net.service\nAfter=hello-net.service\n[Service]\nNetworkNamespacePath=/run/netns/cnm-hello\nExecStart=/usr/bin/busybox httpd -f -p 80 -h /run/www\n",
		"seen.service":      "[Unit]\nRequires=hello-net.service\nAfter=hello-net.service\n[Service]\nType=oneshot\nExecStart=CNM sandbox exec hello -- /usr/bin/busybox cp /etc/hosts /run/www/hosts\n",
	})
	p.Write("/run/www/index.html", "served")
	for range 2 {
		s.Run("start", "hello.service", "seen.service")
		for _, host := range []string{place.Host4, "[" + place.Host6 + "]"} {
			if got := fetch(t, p.Neighbour, "http://"+host+":8080/index.html"); got != "served" {
				t.Errorf("%s answers %q", host, got)
			}
		}
		if got := fetch(t, p.Neighbour, "http://"+place.Host4+":8080/hosts"); strings.Count(got, "\thello") != 2 {
			t.Errorf("hosts:\n%s", got)
		}
		s.Run("restart", "hello.service")
		if got := fetch(t, p.Neighbour, "http://"+place.Host4+":8080/index.html"); got != "served" {
			t.Errorf("after a restart %q", got)
		}
		before := s.Run("show", "--property=MainPID,NRestarts", "hello.service")
		s.Run("restart", "cnm.service") // is nothing to them
		if now := s.Run("show", "--property=MainPID,NRestarts", "hello.service"); now != before {
			t.Errorf("after a restart of the daemon the service is %q, was %q", now, before)
		}
		if got := fetch(t, p.Neighbour, "http://"+place.Host4+":8080/index.html"); got != "served" {
			t.Errorf("after a restart of the daemon %q", got)
		}
		s.Run("stop", "hello-net.service") // and the service with it
	}
}
