// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/netns"
)

// guestKey is the variable that makes this binary a command for the tests to launch.
const guestKey = "CNM_LAUNCH_GUEST"

func TestMain(m *testing.M) {
	if status, mine := Main(os.Args); mine {
		os.Exit(status)
	}
	if len(os.Args) == 3 && os.Args[0] == "cnm" && os.Args[1] == "after" {
		os.Exit(tell(os.Args[2], "after"))
	}
	if verb := os.Getenv(guestKey); verb != "" {
		os.Exit(guest(verb))
	}
	goleak.VerifyTestMain(m)
}

// sight is what a launched command sees.
type sight struct {
	Cookie                      netns.Cookie
	Hostname, Dir               string
	Hosts, ResolvConf, HostFile string
	Devices                     []string // of /sys/class/net
	Cgroup                      bool     // something is mounted below /sys
	UID, GID                    int
	Groups                      []int
	PID, Parent, Group, Session int
	Env                         []string
	Files                       []string // open, behind the three standard ones
	Input                       string   // what descriptor 0 is
	Caps                        string   // effective
}

func look() sight {
	s := sight{UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid(), Parent: os.Getppid(), Group: unix.Getpgrp(), Env: os.Environ()}
	s.Cookie, _ = netns.CookieHere()
	s.Hostname, _ = os.Hostname()
	s.Dir, _ = os.Getwd()
	s.Groups, _ = os.Getgroups()
	s.Session, _ = unix.Getsid(0)
	s.Input, _ = os.Readlink("/proc/self/fd/0")
	s.Hosts, s.ResolvConf, s.HostFile = read("/etc/hosts"), read("/etc/resolv.conf"), read("/etc/hostname")
	entries, _ := os.ReadDir("/sys/class/net")
	for _, e := range entries {
		s.Devices = append(s.Devices, e.Name())
	}
	below, _ := mountsBelow("/sys")
	s.Cgroup = len(below) > 0
	for fd := 3; fd < 64; fd++ {
		// What came through execve is not to be closed by it; what this process opened itself is.
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			name, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
			s.Files = append(s.Files, name)
		}
	}
	for line := range strings.Lines(read("/proc/self/status")) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			s.Caps = strings.TrimSpace(value)
		}
	}
	return s
}

func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

// tell opens a FIFO, which waits for its reader, and writes to it.
func tell(fifo, text string) int {
	if os.WriteFile(fifo, []byte(text), 0) != nil {
		return 1
	}
	return 0
}

// guest is what the command does: VERB ARGUMENT.
func guest(text string) int {
	verb, arg, _ := strings.Cut(text, " ")
	switch verb {
	case "look":
		if json.NewEncoder(os.Stdout).Encode(look()) != nil {
			return 1
		}
		return 0
	case "show": // the same through a FIFO
		data, _ := json.Marshal(look())
		return tell(arg, string(data))
	case "exit":
		n, _ := strconv.Atoi(arg)
		return n
	case "die":
		n, _ := strconv.Atoi(arg)
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		select {}
	case "count":
		return count()
	case "launch": // what follows is launched by this process in its turn
		p := ourselves(arg)
		status, err := Run(context.Background(), p)
		if err != nil {
			fmt.Println(err)
		}
		return status
	default:
		return 99
	}
}

// ourselves is this binary as a command.
func ourselves(verb string) Process {
	exe, _ := os.Executable()
	return Process{
		Command: []string{exe}, Env: []string{guestKey + "=" + verb, "GORACE=atexit_sleep_ms=10"},
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
}

// count says ready, then each signal it gets, and ends at SIGTERM with their number.
func count() int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP)
	fmt.Println("ready")
	for n := 0; ; n++ {
		s := <-signals
		fmt.Println(s)
		if s == syscall.SIGTERM {
			return n
		}
	}
}
