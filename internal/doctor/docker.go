// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
)

// answerMax is how much of an answer is read, in bytes.
const answerMax = 1 << 20

// plugin asks at the socket as Docker does.
func (d *examination) plugin(ctx context.Context) {
	if !there(d.cfg.PluginSocket) {
		if there(d.cfg.SpecFile) {
			d.fail("plugin", "start the daemon with --docker-plugin", "%s sends Docker to us, and there is no socket %s", d.cfg.SpecFile, d.cfg.PluginSocket)
		} else {
			d.note("plugin", "for Docker's containers: cnm install docker", "Docker does not know us: no socket %s", d.cfg.PluginSocket)
		}
		return
	}
	var a struct{ Implements []string }
	err := ask(ctx, http.MethodPost, d.cfg.PluginSocket, "/Plugin.Activate", &a)
	switch {
	case errors.Is(err, fs.ErrPermission):
		d.note("plugin", beRoot, "%v", err)
	case err != nil:
		d.fail("plugin", "restart the daemon with --docker-plugin", "%v", err)
	case !slices.Contains(a.Implements, "NetworkDriver"):
		d.fail("plugin", "choose another name with --docker-plugin", "%s is no network driver: it implements %q", d.cfg.PluginSocket, a.Implements)
	default:
		d.ok("plugin", "answers at %s", d.cfg.PluginSocket)
	}
}

// docker asks for its version.
func (d *examination) docker(ctx context.Context) {
	if !there(d.cfg.DockerSocket) {
		d.note("docker", "", "no socket %s", d.cfg.DockerSocket)
		return
	}
	var v struct {
		Version string
		API     string `json:"ApiVersion"`
	}
	err := ask(ctx, http.MethodGet, d.cfg.DockerSocket, "/version", &v)
	var major, minor int
	switch {
	case errors.Is(err, fs.ErrPermission):
		d.note("docker", beRoot, "%v", err)
		return
	case err != nil:
		d.fail("docker", "restart Docker", "%v", err)
		return
	}
	if _, err := fmt.Sscanf(v.API, "%d.%d", &major, &minor); err != nil || major < 1 || major == 1 && minor < 41 {
		d.note("docker", "use Docker 20.10 or later", "version %q speaks API %q; 1.41 and later are tried", v.Version, v.API)
		return
	}
	d.ok("docker", "version %s speaks API %s", v.Version, v.API)
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ask makes one call over a socket.
func ask(ctx context.Context, method, socket, path string, answer any) error {
	var dialer net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("socket %s: %s answered %s", socket, path, resp.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, answerMax)).Decode(answer); err != nil {
		return fmt.Errorf("socket %s: the answer to %s: %w", socket, path, err)
	}
	return nil
}
