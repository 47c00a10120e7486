// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
)

// unprivileged is where the first port stands that needs no privilege.
const unprivileged = "/proc/sys/net/ipv4/ip_unprivileged_port_start"

// takenError says that a number is somebody else's, and whose.
type takenError struct {
	key
	addr netip.Addr
	by   string
}

func (e *takenError) Error() string {
	return fmt.Sprintf("port %s is held by %s", label(e.proto, e.addr, e.number), e.by)
}

// quarantinedError says that a number may be had when a mark is clear.
type quarantinedError struct{ mark uint64 }

func (e *quarantinedError) Error() string { return "port is in quarantine" }

// bindError is the kernel's refusal of a socket.
type bindError struct {
	key
	addrs []netip.Addr
	err   error
}

func (e *bindError) Error() string {
	return fmt.Sprintf("hold port %s: %v", label(e.proto, e.addrs[0], e.number), e.err)
}

func (e *bindError) Unwrap() error { return e.err }

// rangeError says that no number of a range is free.
type rangeError struct {
	w     *want
	first error // why the first is not
}

func (e *rangeError) Error() string {
	return fmt.Sprintf("no free port in %d-%d/%s on %s", e.w.lo, e.w.hi, e.w.proto, join(e.w.addrs))
}

// label writes a port as people do: "8080/tcp on 0.0.0.0".
func label(p cnm.Protocol, a netip.Addr, number uint16) string {
	if number == 0 {
		return fmt.Sprintf("%s on %s", p, a)
	}
	return fmt.Sprintf("%d/%s on %s", number, p, a)
}

// join lists addresses.
func join(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, " and ")
}

// explain turns what went wrong into an error for people: only now is it worth
// looking for who holds a port.
func (h *Holder) explain(err error) error {
	if e, ok := errors.AsType[*rangeError](err); ok {
		return cnm.FieldErrorf(cnm.Exhausted, "publish", "%w; the first: %w", e, h.explain(e.first))
	}
	if e, ok := errors.AsType[*takenError](err); ok {
		return cnm.FieldErrorf(cnm.Exists, "publish", "%w; choose another host port", e)
	}
	e, ok := errors.AsType[*bindError](err)
	if !ok {
		return err
	}
	at := e.addrs[0]
	switch {
	case errors.Is(e.err, unix.EADDRINUSE) && e.number == 0:
		return cnm.FieldErrorf(cnm.Exhausted, "publish", "no free %s port is left on %s; give a host port, or widen net.ipv4.ip_local_port_range", e.proto, at)
	case errors.Is(e.err, unix.EADDRINUSE):
		found := findHolder(e.key, e.addrs)
		return cnm.FieldErrorf(cnm.Exists, "publish", "%w; choose another host port", &takenError{key: e.key, addr: found.addr, by: found.by})
	case errors.Is(e.err, unix.EADDRNOTAVAIL):
		return cnm.FieldErrorf(cnm.Invalid, "publish", "host address %s is not one of this host's; publish on one that is, or leave it out", at)
	case errors.Is(e.err, unix.EACCES):
		return cnm.FieldErrorf(cnm.NotPermitted, "publish",
			"port %s is privileged; grant CAP_NET_BIND_SERVICE, lower net.ipv4.ip_unprivileged_port_start (now %s) or publish on a higher port",
			label(e.proto, at, e.number), firstUnprivileged())
	case errors.Is(e.err, unix.EMFILE), errors.Is(e.err, unix.ENFILE):
		return cnm.FieldErrorf(cnm.Exhausted, "publish", "no descriptor is left for port %s; raise the daemon's limit of open files: %w", label(e.proto, at, e.number), e.err)
	case errors.Is(e.err, unix.EAFNOSUPPORT):
		return cnm.FieldErrorf(cnm.Unsupported, "publish", "port %s: this kernel has no IPv6; publish on an IPv4 address", label(e.proto, at, e.number))
	default:
		return cnm.FieldErrorf(cnm.Internal, "publish", "%w", e)
	}
}

// firstUnprivileged is the lowest port that needs no privilege, as the kernel
// writes it.
func firstUnprivileged() string {
	b, err := os.ReadFile(unprivileged)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
