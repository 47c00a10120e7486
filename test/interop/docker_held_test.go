// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// holder is as much of a service manager as holds a socket and starts a program with it, a second after it ended again.
const holder = `use Socket; use POSIX;
my $path = shift; $^F = 3; $| = 1;
my $s;
socket($s, PF_UNIX, SOCK_STREAM, 0) && bind($s, sockaddr_un($path)) && listen($s, 128) or die "$path: $!";
POSIX::dup2(fileno($s), 3) or die $!;
for (;;) {
	my $pid = fork;
	if (!$pid) { $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; exec @ARGV or die $!; }
	print "started $pid\n";
	waitpid $pid, 0;
	select undef, undef, undef, 1;
}`

// refusedFor is how long Docker tries again what was refused, for each of its calls.
const refusedFor = 15 * time.Second

// Where a service manager holds the plugin's socket, Docker's calls wait for our restart and are not refused meanwhile.
func TestDockerWaitsAtAHeldSocket(t *testing.T) {
	t.Parallel()
	for _, g := range engine.Generations() {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			p.Output("mkdir", "-p", "/run/docker/plugins")
			manager := p.Start("manager", place.Command{Args: []string{
				"perl", "-e", holder, "/run/docker/plugins/cnm.sock", engine.Program(t), "daemon", "--docker-plugin", "cnm", "--log-format", "json",
			}})
			pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(manager.Await("started ")), "started "))
			if err != nil {
				t.Fatal(err)
			}
			manager.Await(`"msg":"ready"`)
			d := engine.StartDocker(t, p, g, engine.DockerOptions{})
			d.Run("network", "create", "--driver", "cnm", "net")
			d.Run("run", "--detach", "--name", "web", "--network", "net", "--publish", "8080:80", engine.Image, "sleep", "1000")
			p.Output("kill", "-9", strconv.Itoa(pid))
			r := d.Try("rm", "--force", "web")
			if r.Must(t, "docker rm"); r.Time >= refusedFor {
				t.Errorf("it took %v", r.Time)
			}
			t.Logf("docker rm while we were away for a second: %v", r.Time)
			if got := p.Output(engine.Program(t), "endpoint", "ls", "--quiet"); got != "" {
				t.Errorf("left is %s", got)
			}
			d.Run("run", "--rm", "--network", "net", "--publish", "8080:80", engine.Image, "true")
		})
	}
}
