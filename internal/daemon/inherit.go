// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstInherited is the descriptor of the first socket that a service manager hands over.
const firstInherited = 3

// Inherited are the unix sockets that a service manager made, by their paths, and keeps while we are away: who calls meanwhile waits
// for us. getenv has the manager's words; those that are for another process count for nothing. The caller owns the listeners, whose
// end leaves the sockets where they are. It may be called once.
func Inherited(getenv func(string) string) (map[string]net.Listener, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS is %q, no number of sockets; leave it out", getenv("LISTEN_FDS"))
	}
	all := map[string]net.Listener{}
	for fd := firstInherited; fd < firstInherited+n; fd++ {
		path, ln, err := inherit(fd)
		if err != nil {
			for _, ln := range all {
				err = errors.Join(err, ln.Close())
			}
			return nil, fmt.Errorf("descriptor %d of the service manager: %w", fd, err)
		}
		all[path] = ln
	}
	return all, nil
}

// inherit takes one descriptor over.
func inherit(fd int) (path string, _ net.Listener, err error) {
	unix.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "inherited socket")
	ln, err := net.FileListener(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return "", nil, err
	}
	if _, ok := ln.(*net.UnixListener); !ok {
		return "", nil, errors.Join(fmt.Errorf("%s is no unix socket", ln.Addr()), ln.Close())
	}
	return ln.Addr().String(), ln, nil
}
