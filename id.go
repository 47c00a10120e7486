// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// NetworkID names one network for ever: 32 lower-case hexadecimal digits (128 random bits), never reused, so that a
// reference that outlives its network can only dangle, never point at another. It, [EndpointID] and [SandboxID] are
// distinct types so that swapped arguments do not compile.
type NetworkID string

// EndpointID names one endpoint as [NetworkID] does a network.
type EndpointID string

// SandboxID names one sandbox as [NetworkID] does a network.
type SandboxID string

// NewNetworkID returns a fresh random identifier. It is safe for concurrent use.
func NewNetworkID() NetworkID { return NetworkID(newID()) }

// NewEndpointID returns a fresh random identifier. It is safe for concurrent use.
func NewEndpointID() EndpointID { return EndpointID(newID()) }

// NewSandboxID returns a fresh random identifier. It is safe for concurrent use.
func NewSandboxID() SandboxID { return SandboxID(newID()) }

func newID() string {
	var b [16]byte
	// crypto/rand.Read never returns an error since Go 1.24: it ends the program where the kernel has no randomness.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// nameMax is the longest name of a network, sandbox or endpoint: one DNS label.
const nameMax = 63

// CheckName tells whether s may name a network, a sandbox or an endpoint: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}. The
// error is of kind [Invalid]; field is the input it belongs to, as the caller's user wrote it ("name", "alias").
func CheckName(field, s string) error {
	bad := func(why string) error {
		return FieldErrorf(Invalid, field, "%s %q %s; use up to %d letters, digits, '_', '.' and '-', beginning with a letter or digit", field, clip(s), why, nameMax)
	}
	if s == "" {
		return bad("is empty")
	}
	if len(s) > nameMax {
		return bad("is too long")
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return bad(fmt.Sprintf("has %q at position %d", c, i+1))
		}
	}
	return nil
}

// FoldName is the form in which names are compared: they are unique without regard to case.
func FoldName(s string) string { return strings.ToLower(s) }

// clip bounds what an error quotes of the input.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
