// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kind is the class of an error: what a caller can do about it. A Kind is itself an error, so that
// errors.Is(err, cnm.NotFound) asks for the class of any error of this module.
type Kind uint8

// The kinds. [Kinds] lists them in this order with the code each has in every protocol we speak.
const (
	// Internal is a defect or a failure that the caller has no part in.
	Internal Kind = iota
	// NotFound: the named object does not exist.
	NotFound
	// Exists: an object of that name, address or port is already there.
	Exists
	// Busy: the object is in use or in the middle of another change.
	Busy
	// Invalid: the request can never be met as it stands; the error names the field.
	Invalid
	// Unavailable: a part that is needed does not answer (no daemon, a plugin gone, a deadline passed).
	Unavailable
	// NotPermitted: the caller may not do this.
	NotPermitted
	// Unsupported: this kernel or driver cannot do it; the error names the feature and the version that has it.
	Unsupported
	// Exhausted: an address pool, port range or descriptor budget is used up; the error says which.
	Exhausted
)

// KindCode is one row of the table that maps a kind into the protocols we speak.
type KindCode struct {
	Kind Kind
	Name string // in JSON
	HTTP int    // status of the API
	Exit int    // status of the command line
}

// Kinds returns the table, one row a kind, in the order of the constants. The caller owns the slice.
func Kinds() []KindCode {
	return []KindCode{
		{Internal, "internal", 500, 1},
		{NotFound, "not_found", 404, 3},
		{Exists, "exists", 409, 4},
		{Busy, "busy", 409, 4},
		{Invalid, "invalid", 400, 5},
		{Unavailable, "unavailable", 503, 6},
		{NotPermitted, "not_permitted", 403, 7},
		{Unsupported, "unsupported", 501, 8},
		{Exhausted, "exhausted", 507, 9},
	}
}

// Code is the kind's row of [Kinds]; an unknown kind has [Internal]'s.
func (k Kind) Code() KindCode {
	for _, c := range Kinds() {
		if c.Kind == k {
			return c
		}
	}
	return Kinds()[Internal]
}

// KindNamed is the kind whose JSON name is s; an unknown name is [Internal].
func KindNamed(s string) Kind {
	for _, c := range Kinds() {
		if c.Name == s {
			return c.Kind
		}
	}
	return Internal
}

// Error makes a kind a target of errors.Is.
func (k Kind) Error() string { return strings.ReplaceAll(k.Code().Name, "_", " ") }

// Error is the one error type of the module: what was being done, of which class the failure is, which objects
// and which input field it concerns, and why. Its text is for the person who reads it: lower case, naming the thing, the
// value and the way out. Values are immutable once returned.
type Error struct {
	Op    string // the operation, as in "network create" or "attach", by the name that events have; set once, by the outermost caller
	Kind  Kind
	Field string // the input at fault, in the caller's words ("subnet", "publish"); empty if none

	Network  NetworkID
	Endpoint EndpointID
	Sandbox  SandboxID

	Err error // the cause; never nil
}

// Error is the operation, if any, and the cause.
func (e *Error) Error() string {
	if e.Op == "" {
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is this error's kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// Errorf is an error of kind k; %w wraps a cause.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// FieldErrorf is [Errorf] with the input field at fault.
func FieldErrorf(k Kind, field, format string, args ...any) error {
	return &Error{Kind: k, Field: field, Err: fmt.Errorf(format, args...)}
}

// KindOf is the class of any error: the kind of the outermost [Error] in it; [Unavailable] for a context that ended; else [Internal].
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable
	}
	return Internal
}

// During names the operation in which err happened, keeping its kind, field and objects. A nil err stays nil, and
// an error that names its operation already is returned as it is.
func During(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Op: op, Kind: KindOf(err), Err: err}
	}
	if e.Op != "" {
		return err
	}
	c := *e
	c.Op, c.Err = op, err
	return &c
}
