// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// sandboxError is an error about a sandbox, of the kind that its cause belongs to.
func sandboxError(sb cnm.Sandbox, cause error, format string, args ...any) error {
	return &cnm.Error{Kind: kindOf(cause), Sandbox: sb.ID, Err: fmt.Errorf(format+": %w", append(args, cause)...)}
}

// adoptError is an error about the namespace that a sandbox was to adopt, with what to give in its place.
func adoptError(sb cnm.Sandbox, cause error) error {
	kind := kindOf(cause)
	field, what, give := "netns", "netns "+sb.Namespace.Path, "the path of a network namespace, as /run/netns/NAME"
	if sb.PID != 0 {
		field, what, give = "pid", fmt.Sprintf("pid %d", sb.PID), "that of a running process"
	}
	way := ""
	if kind == cnm.NotFound || kind == cnm.Invalid {
		way = "; give " + give
	} else if kind == cnm.NotPermitted {
		way = "; the daemon has to be root in the user namespace that owns it"
	}
	return &cnm.Error{Kind: kind, Field: field, Sandbox: sb.ID, Err: fmt.Errorf("%s: %w%s", what, cause, way)}
}

// endpointError is an error about an endpoint in its sandbox.
func endpointError(at cnm.Attachment, cause error, format string, args ...any) error {
	return &cnm.Error{
		Kind: kindOf(cause), Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID,
		Err: fmt.Errorf(format+": %w", append(args, cause)...),
	}
}

// kindOf classifies what the kernel rooms answer.
func kindOf(err error) cnm.Kind {
	var own *cnm.Error
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &own):
		return own.Kind
	case is(context.Canceled, context.DeadlineExceeded):
		return cnm.Unavailable
	case is(fs.ErrNotExist, netns.ErrProcessGone, netns.ErrStale, unix.ENODEV):
		return cnm.NotFound
	case is(fs.ErrExist):
		return cnm.Exists
	case is(netns.ErrNotNamespace, netns.ErrSymlink, unix.EINVAL, unix.ENOTDIR, unix.ENAMETOOLONG, unix.ELOOP):
		return cnm.Invalid
	case is(unix.EPERM, unix.EACCES):
		return cnm.NotPermitted
	case is(errors.ErrUnsupported, unix.EAFNOSUPPORT, unix.EOPNOTSUPP):
		return cnm.Unsupported
	case is(unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.ENOMEM):
		return cnm.Exhausted
	case is(unix.EBUSY):
		return cnm.Busy
	default:
		return cnm.Internal
	}
}

// without drops the refusals that are one of the given answers, tells whether
// there were any, and gives the rest.
func without(err error, answers ...error) (dropped bool, rest error) {
	var left []error
	for _, e := range link.Refusals(err) {
		drop := false
		for _, a := range answers {
			drop = drop || errors.Is(e, a)
		}
		if drop {
			dropped = true
			continue
		}
		left = append(left, e)
	}
	return dropped, errors.Join(left...)
}
