// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Error is one message that was refused: by the kernel, or, with Errno EINVAL
// and Position as built, by this package before anything was sent.
//
// errors.Is compares it with the Errno: errors.Is(err, unix.EEXIST).
type Error struct {
	// Op is what the message asked for: "create veth", "add route".
	Op string
	// Name is the object: an interface name or index, an address, a prefix.
	Name string
	// Where says on which link or in which place, ready to print; often empty.
	Where string
	// Position counts the messages of the batch from 0. It is 0 for a request of its own.
	Position int
	// Errno is the kernel's answer.
	Errno syscall.Errno
	// Message is the kernel's extended acknowledgement, if it sent one.
	Message string
}

// Error returns one line: operation, object, place, errno, the kernel's own words.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	for _, s := range []string{e.Name, e.Where} {
		if s != "" {
			b.WriteByte(' ')
			b.WriteString(s)
		}
	}
	b.WriteString(": ")
	b.WriteString(e.Errno.Error())
	if e.Message != "" {
		b.WriteString(" (")
		b.WriteString(e.Message)
		b.WriteByte(')')
	}
	return b.String()
}

// Unwrap returns the Errno.
func (e *Error) Unwrap() error { return e.Errno }

// Refusals takes the error of [Conn.Do] apart: what was refused one by one, in order, and last what failed as a whole. Nil has
// none.
func Refusals(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// subject is what a message is about, in the words of an Error.
type subject struct {
	op, name, where string
}

func (s subject) refused(position int, code syscall.Errno, text string) *Error {
	return &Error{Op: s.op, Name: s.name, Where: s.where, Position: position, Errno: code, Message: text}
}

// invalid is the reason for which a message cannot be sent; Batch.Err names the
// message it belongs to.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format, args...)
}

// parseAck reads an NLMSG_ERROR or NLMSG_DONE body: the errno, zero for an
// acknowledgement, and the text of the extended acknowledgement. The socket has
// NETLINK_CAP_ACK set, so that an NLMSG_ERROR carries the request's header only;
// where the kernel did not cap it the attributes begin after the whole request.
func parseAck(typ, flags uint16, body []byte) (syscall.Errno, string, bool) {
	if len(body) < sizeErrno {
		return 0, "", false
	}
	code := syscall.Errno(-int32(u32(body)))
	if flags&unix.NLM_F_ACK_TLVS == 0 {
		return code, "", true
	}
	skip := sizeErrno
	if typ == unix.NLMSG_ERROR {
		skip += sizeHeader
		if flags&unix.NLM_F_CAPPED == 0 && len(body) >= skip {
			skip = sizeErrno + align(int(u32(body[sizeErrno:])))
		}
	}
	if skip > len(body) {
		return code, "", true
	}
	var text string
	for a := attrsOf(body[skip:]); a.next(); {
		if a.typ == unix.NLMSGERR_ATTR_MSG {
			text = str(a.val)
		}
	}
	return code, text, true
}
