// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"github.com/google/nftables/expr"
)

// Verdict decides over a packet: as the last statement of a rule, or as the
// value of an element in a map to verdicts. The zero Verdict is none.
type Verdict struct {
	kind  verdictKind
	chain string
}

// verdictKind numbers verdicts so that the zero value is none.
type verdictKind uint8

const (
	verdictNone verdictKind = iota
	verdictAccept
	verdictDrop
	verdictReturn
	verdictContinue
	verdictJump
	verdictGoto
)

// Accept ends this base chain; base chains of later priority still decide.
func Accept() Verdict { return Verdict{kind: verdictAccept} }

// Drop discards the packet for good.
func Drop() Verdict { return Verdict{kind: verdictDrop} }

// Return goes back to the rule after the jump; in a base chain it is the policy.
func Return() Verdict { return Verdict{kind: verdictReturn} }

// Continue goes on with the next rule.
func Continue() Verdict { return Verdict{kind: verdictContinue} }

// Jump runs a chain without a hook, and comes back.
func Jump(chain string) Verdict { return Verdict{kind: verdictJump, chain: chain} }

// Goto runs a chain without a hook, and does not come back.
func Goto(chain string) Verdict { return Verdict{kind: verdictGoto, chain: chain} }

// IsZero tells whether there is no verdict.
func (v Verdict) IsZero() bool { return v.kind == verdictNone }

// String writes the verdict as nft does.
func (v Verdict) String() string {
	switch v.kind {
	case verdictNone:
		return ""
	case verdictAccept:
		return "accept"
	case verdictDrop:
		return "drop"
	case verdictReturn:
		return "return"
	case verdictContinue:
		return "continue"
	case verdictJump:
		return "jump " + v.chain
	case verdictGoto:
		return "goto " + v.chain
	default:
		return "invalid verdict"
	}
}

// code gives the kernel's number of the verdict.
func (v Verdict) code() int32 {
	switch v.kind {
	case verdictNone, verdictContinue:
		return int32(expr.VerdictContinue)
	case verdictAccept:
		return int32(expr.VerdictAccept)
	case verdictDrop:
		return int32(expr.VerdictDrop)
	case verdictReturn:
		return int32(expr.VerdictReturn)
	case verdictJump:
		return int32(expr.VerdictJump)
	case verdictGoto:
		return int32(expr.VerdictGoto)
	default:
		return int32(expr.VerdictDrop)
	}
}

// verdictOf is the reverse of [Verdict.code].
func verdictOf(code int32, chain string) (Verdict, bool) {
	for k := verdictAccept; k <= verdictGoto; k++ {
		if v := (Verdict{kind: k, chain: chain}); v.code() == code {
			return v, true
		}
	}
	return Verdict{}, false
}

// compile makes Verdict a [Statement].
func (v Verdict) compile(c *compiler) {
	if v.IsZero() {
		c.fail("a rule has an empty verdict")
		return
	}
	c.expr(&expr.Verdict{Kind: expr.VerdictKind(v.code()), Chain: v.chain})
	c.say(v.String())
}
