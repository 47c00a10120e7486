// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// A container of podman's is started in a sandbox that was made before, and comes and goes in it.
func TestPodmanInASandbox(t *testing.T) {
	t.Parallel()
	p := engine.NewPlace(t)
	c := engine.StartCNM(t, p)
	c.Run("network", "create", "web")
	c.Run("sandbox", "create", "box")
	c.Run("attach", "box", "web", "--publish", "8080:80")
	podman := engine.NewPodman(t, p)
	var mac string
	for _, page := range []string{"first", "second"} {
		podman.Run(append([]string{"run", "--detach", "--name", page, "--network", "ns:/run/netns/cnm-box", "--no-hosts", "--rootfs", podman.Root}, serve(page)...)...)
		for _, host := range []string{place.Host4, "[" + place.Host6 + "]"} {
			if got := fetch(t, p.Neighbour, "http://"+host+":8080"); got != page+"\n" {
				t.Errorf("%s answers %q", host, got)
			}
		}
		got := podman.Run("exec", page, "sh", "-c", "cat /sys/class/net/eth0/address; ip -o link | wc -l")
		if !strings.HasSuffix(got, "\n2") || mac != "" && got != mac {
			t.Errorf("inside it has %q, before %q", got, mac)
		}
		mac = got
		podman.Run("rm", "--force", "--time", "0", page)
	}
	if got := c.Run("endpoint", "ls", "--format", "{{.sandbox}} {{.state}}"); got != "box joined" {
		t.Errorf("the endpoint is %q", got)
	}
}
