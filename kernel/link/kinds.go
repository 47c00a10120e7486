// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Here stands for a namespace descriptor where the namespace of the calling
// thread, or of the socket that carries the message, is meant.
const Here = 0

// Switch is a setting with three values, so that a zero struct changes nothing.
type Switch uint8

const (
	// Keep leaves the setting as the kernel has it.
	Keep Switch = iota
	// Off switches it off.
	Off
	// On switches it on.
	On
)

// String returns "keep", "off" or "on".
func (s Switch) String() string {
	switch s {
	case Off:
		return "off"
	case On:
		return "on"
	case Keep:
	}
	return "keep"
}

func (s Switch) bit() uint8 {
	if s == On {
		return 1
	}
	return 0
}

func switchOf(b []byte) Switch {
	if u8(b) != 0 {
		return On
	}
	return Off
}

// MAC is an Ethernet address. The zero value means none.
type MAC [6]byte

// IsZero tells whether m is the zero address.
func (m MAC) IsZero() bool { return m == MAC{} }

// String returns the address as six hexadecimal bytes with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Ref names one link: by index, or by name where the index is not known. Exactly
// one of the two is set.
type Ref struct {
	Index int
	Name  string
}

// Named refers to the link called name in the namespace of the socket.
func Named(name string) Ref { return Ref{Name: name} }

// Numbered refers to the link with this index in the namespace of the socket.
func Numbered(index int) Ref { return Ref{Index: index} }

// String returns the name, or the index.
func (r Ref) String() string {
	if r.Name != "" {
		return r.Name
	}
	return strconv.Itoa(r.Index)
}

func (r Ref) check() error {
	switch {
	case r.Name != "" && r.Index != 0:
		return invalid("link %d and %q: name it by one of the two", r.Index, r.Name)
	case r.Name != "":
		return checkName(r.Name)
	case r.Index <= 0:
		return invalid("link index %d: give a positive index or a name", r.Index)
	}
	return nil
}

// AddrGenMode says how the kernel makes the IPv6 link-local address of a link.
type AddrGenMode uint8

// The modes of IFLA_INET6_ADDR_GEN_MODE, one up, so that zero changes nothing.
const (
	AddrGenKeep AddrGenMode = iota
	AddrGenEUI64
	AddrGenNone
	AddrGenStablePrivacy
	AddrGenRandom
)

// String returns the mode's name as in the kernel's documentation.
func (m AddrGenMode) String() string {
	return nameOf([]string{"keep", "eui64", "none", "stable-privacy", "random"}, int(m))
}

// checkName accepts what the kernel takes as the name of one interface, less the
// percent sign, which would make it a template ("eth%d").
func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return invalid("interface name %q: use 1 to %d bytes", name, unix.IFNAMSIZ-1)
	}
	if name == "." || name == ".." || strings.ContainsAny(name, "/:% \t\n\v\f\r\x00") {
		return invalid("interface name %q: no blank, slash, colon or percent sign", name)
	}
	return nil
}

// checkNames checks name, and others where they are set.
func checkNames(name string, others ...string) error {
	if err := checkName(name); err != nil {
		return err
	}
	for _, o := range others {
		if o == "" {
			continue
		}
		if err := checkName(o); err != nil {
			return err
		}
	}
	return nil
}

// checkRange refuses what the kernel would read as another number.
func checkRange(numbers ...int) error {
	for _, n := range numbers {
		if n < 0 || n > 1<<31-1 {
			return invalid("number %d: out of range", n)
		}
	}
	return nil
}

func nameOf(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}
