// SPDX-License-Identifier: Apache-2.0

package nft

// TableState is a table as the kernel has it.
type TableState struct {
	Table
	Handle uint64 // of this table since boot; a table made anew has another
	Owner  uint32 // port of the owning socket, see [Conn.PortID]; 0 = nobody's
}

// RuleState is a rule as the kernel has it.
type RuleState struct {
	Comment string
	Handle  uint64
	// Exprs are the expressions in one written form, whether they come from the
	// kernel or from a [Rule]; see [Compare].
	Exprs []string
}

// ChainState is a chain as the kernel has it. Rules of the embedded [Chain] are
// not filled: what the kernel runs is in the field of the same name here.
type ChainState struct {
	Chain
	Handle uint64
	Rules  []RuleState
}

// SetState is a set as the kernel has it, with its elements in the order of
// their keys.
type SetState struct {
	Set
	Handle uint64
}

// Snapshot is a table with everything in it, as the kernel had it at one moment.
type Snapshot struct {
	Table      TableState
	Generation uint32 // counts the transactions of the network namespace
	Chains     []ChainState
	Sets       []SetState
	anonymous  []anonState
}

// anonState is the set of one rule as the kernel has it.
type anonState struct {
	name   string
	values []Element
}

// RuleCount gives the number of rules in all chains.
func (s *Snapshot) RuleCount() int {
	n := 0
	for i := range s.Chains {
		n += len(s.Chains[i].Rules)
	}
	return n
}

// Set gives the set of that name, or nil.
func (s *Snapshot) Set(name string) *SetState {
	for i := range s.Sets {
		if s.Sets[i].Name == name {
			return &s.Sets[i]
		}
	}
	return nil
}

// Chain gives the chain of that name, or nil.
func (s *Snapshot) Chain(name string) *ChainState {
	for i := range s.Chains {
		if s.Chains[i].Name == name {
			return &s.Chains[i]
		}
	}
	return nil
}
