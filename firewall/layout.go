// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/libnetwork/cnm/kernel/nft"
)

// layout is both tables without the elements that owners bring.
type layout struct {
	routes, frames *nft.Layout
	sets           [setCount]*nft.Set
}

// stampPrefix begins the comment of our tables; what follows tells the version of the rules.
const stampPrefix = "libnetwork rules "

// newLayout makes the tables for one mark bit.
func newLayout(bit uint32, flags nft.TableFlags) *layout {
	sets := newSets()
	l := &layout{
		sets: sets,
		routes: &nft.Layout{
			Table: nft.Table{TableID: routesTable()}, Sets: sets[:firstFrameSet], Chains: routeChains(bit),
		},
		frames: &nft.Layout{
			Table: nft.Table{TableID: framesTable()}, Sets: sets[firstFrameSet:], Chains: frameChains(bit),
		},
	}
	sum := sha256.Sum256([]byte(l.routes.String() + l.frames.String()))
	for _, t := range []*nft.Layout{l.routes, l.frames} {
		t.Table.Comment = stampPrefix + hex.EncodeToString(sum[:4])
		t.Table.Flags = flags
	}
	return l
}

// chain makes a chain without a hook.
func chain(t nft.TableID, name string, rules ...nft.Rule) *nft.Chain {
	return &nft.Chain{Table: t, Name: name, Rules: rules}
}

// base makes c a base chain of packets or frames.
func base(c *nft.Chain, hook nft.Hook, typ nft.ChainType, priority int32) *nft.Chain {
	c.Hook, c.Type, c.Priority = hook, typ, priority
	return c
}

// rule makes a rule.
func rule(statements ...nft.Statement) nft.Rule { return nft.Rule{Statements: statements} }

// noted makes a rule with a comment.
func noted(comment string, statements ...nft.Statement) nft.Rule {
	return nft.Rule{Comment: comment, Statements: statements}
}
