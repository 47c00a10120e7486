// SPDX-License-Identifier: Apache-2.0

package cnm

import "slices"

// State is where an object stands between its claim and its end. The states of a change under way (Creating, Joining,
// Leaving, Deleting) are the lock: only the call that made the claim moves the object on, others wait. After a crash
// they tell the next start what to undo and what to finish.
type State string

// The states.
const (
	// Creating: claimed and recorded, the kernel perhaps touched. After a crash it is undone.
	Creating State = "creating"
	// Ready: it exists; an endpoint in this state is in no sandbox.
	Ready State = "ready"
	// Joining: an endpoint on its way into a sandbox. After a crash it is undone.
	Joining State = "joining"
	// Joined: an endpoint in a sandbox.
	Joined State = "joined"
	// Updating: its published ports or routes are changing. After a crash the record wins.
	Updating State = "updating"
	// Leaving: an endpoint on its way out of its sandbox. After a crash it is finished.
	Leaving State = "leaving"
	// Deleting: on its way out. After a crash it is finished.
	Deleting State = "deleting"
)

// Moves is the table of legal changes of state: for each state, those that may follow. "" is an object that does
// not exist. The caller owns the map.
func Moves() map[State][]State {
	return map[State][]State{
		"":       {Creating},
		Creating: {Ready, Joining, ""},
		Ready:    {Joining, Updating, Deleting},
		Joining:  {Joined, Ready, Deleting, ""},
		Joined:   {Updating, Leaving, Deleting},
		Updating: {Ready, Joined},
		Leaving:  {Ready, Deleting, ""},
		Deleting: {""},
	}
}

// CanMove tells whether an object may go from one state to the other.
func CanMove(from, to State) bool {
	return slices.Contains(Moves()[from], to)
}

// Settled tells whether no change is under way in this state.
func (s State) Settled() bool { return s == Ready || s == Joined }
