// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"

	cnm "github.com/libnetwork/cnm"
)

// Error is how a [cnm.Error] travels: [FromError] on one side, [Error.Restore] on the other, and kind, text, field and
// objects are the same.
type Error struct {
	Kind       string         `json:"kind"`         // a name of [cnm.Kinds]
	Op         string         `json:"op,omitempty"` // the operation, as "network create"
	Field      string         `json:"field,omitempty"`
	Message    string         `json:"message"` // without the operation
	NetworkID  cnm.NetworkID  `json:"network_id,omitempty"`
	EndpointID cnm.EndpointID `json:"endpoint_id,omitempty"`
	SandboxID  cnm.SandboxID  `json:"sandbox_id,omitempty"`
}

// FromError shows an error, which must not be nil.
func FromError(err error) Error {
	out := Error{Kind: cnm.KindOf(err).Code().Name, Message: err.Error()}
	var e *cnm.Error
	if !errors.As(err, &e) {
		return out
	}
	out.Field, out.NetworkID, out.EndpointID, out.SandboxID = e.Field, e.Network, e.Endpoint, e.Sandbox
	if error(e) == err { //nolint:errorlint // only the outermost error's own verb leads its text
		out.Op, out.Message = e.Op, e.Err.Error()
	}
	return out
}

// Restore is the error that [FromError] was given, as far as it travels.
func (e *Error) Restore() error {
	return &cnm.Error{
		Op: e.Op, Kind: cnm.KindNamed(e.Kind), Field: e.Field,
		Network: e.NetworkID, Endpoint: e.EndpointID, Sandbox: e.SandboxID,
		Err: errors.New(e.Message),
	}
}
