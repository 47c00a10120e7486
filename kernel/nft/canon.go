// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel does not give a rule back as it was sent: attributes come in
// another order, without the mark of nesting, with defaults written out, with
// counters that have run, and with a number in the names of sets of one rule. So
// the expressions of both sides are written in one form and that is compared.

// attrKind is what the value of an attribute is.
type attrKind uint8

const (
	kindNumber   attrKind = iota // big endian, 1 to 8 bytes; 0 is the default
	kindString                   // up to a zero byte
	kindData                     // a value or a verdict
	kindIgnored                  // differs without meaning: counters, numbers of a transaction
	kindPresent                  // a number that means something even if it is 0
	kindNATFlags                 // a number, of which two bits go without saying
)

// exprAttrs tells what the attributes of an expression are, by its name; those
// that are not listed are numbers.
func exprAttrs(name string) map[uint16]attrKind {
	switch name {
	case "cmp":
		return map[uint16]attrKind{unix.NFTA_CMP_DATA: kindData}
	case "immediate":
		return map[uint16]attrKind{unix.NFTA_IMMEDIATE_DATA: kindData}
	case "bitwise":
		return map[uint16]attrKind{unix.NFTA_BITWISE_MASK: kindData, unix.NFTA_BITWISE_XOR: kindData}
	case "lookup":
		return map[uint16]attrKind{unix.NFTA_LOOKUP_SET: kindString, unix.NFTA_LOOKUP_SET_ID: kindIgnored, unix.NFTA_LOOKUP_DREG: kindPresent}
	case "counter":
		return map[uint16]attrKind{unix.NFTA_COUNTER_BYTES: kindIgnored, unix.NFTA_COUNTER_PACKETS: kindIgnored}
	case "nat":
		// The kernel writes the end of a range of one, too.
		return map[uint16]attrKind{
			unix.NFTA_NAT_REG_ADDR_MAX: kindIgnored, unix.NFTA_NAT_REG_PROTO_MAX: kindIgnored,
			unix.NFTA_NAT_FLAGS: kindNATFlags,
		}
	case "redir":
		return map[uint16]attrKind{unix.NFTA_REDIR_REG_PROTO_MAX: kindIgnored, unix.NFTA_REDIR_FLAGS: kindNATFlags}
	default:
		return nil
	}
}

// canonical writes a list of expressions, one string for each.
func canonical(list []byte) []string {
	var out []string
	for elem := range attrs(list) {
		var name string
		var data []byte
		for a := range attrs(elem.val) {
			switch a.typ {
			case unix.NFTA_EXPR_NAME:
				name = cstring(a.val)
			case unix.NFTA_EXPR_DATA:
				data = a.val
			}
		}
		out = append(out, canonicalExpr(name, data))
	}
	return out
}

// canonicalExpr writes one expression: its name and its attributes by number.
func canonicalExpr(name string, data []byte) string {
	kinds := exprAttrs(name)
	var parts []string
	for a := range attrs(data) {
		if text := canonicalAttr(kinds[a.typ], a.val); text != "" {
			parts = append(parts, fmt.Sprintf("%02d=%s", a.typ, text))
		}
	}
	slices.Sort(parts)
	return strings.TrimSuffix(name+" "+strings.Join(parts, " "), " ")
}

// canonicalAttr writes the value of an attribute; "" if it means nothing.
func canonicalAttr(kind attrKind, b []byte) string {
	switch kind {
	case kindIgnored:
		return ""
	case kindString:
		return strconv.Quote(cstring(b))
	case kindData:
		return canonicalData(b)
	case kindPresent:
		return strconv.FormatUint(uint64(be32(b)), 10)
	case kindNATFlags:
		// That there is an address, and that there is a port.
		return nonZero(uint64(be32(b) &^ (unix.NF_NAT_RANGE_MAP_IPS | unix.NF_NAT_RANGE_PROTO_SPECIFIED)))
	case kindNumber:
		if len(b) > 8 {
			return hex.EncodeToString(b)
		}
		var v uint64
		for _, x := range b {
			v = v<<8 | uint64(x)
		}
		return nonZero(v)
	default:
		return ""
	}
}

// nonZero writes a number; "" for 0.
func nonZero(v uint64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(v, 10)
}

// canonicalData writes a value or a verdict.
func canonicalData(b []byte) string {
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_DATA_VALUE:
			return hex.EncodeToString(a.val)
		case unix.NFTA_DATA_VERDICT:
			if v, ok := decodeVerdict(a.val); ok {
				return strings.ReplaceAll(v.String(), " ", ":")
			}
			return "verdict:" + hex.EncodeToString(a.val)
		}
	}
	return ""
}
