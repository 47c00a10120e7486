// SPDX-License-Identifier: Apache-2.0

package rules

// Rule is a convention.
type Rule struct {
	Name string // also of its folder in testdata
	Why  string
	Find func(*Tree) []Finding
}

// Rules returns all rules. The caller owns the slice.
func Rules() []Rule {
	return []Rule{
		{"layers", "who reads a room has to know only what is below it", Layers},
		{"tools", "a room that starts programs or speaks to the kernel is looked at with more care", Reserved},
		{"licence", "a file that is copied away still says under which terms", Licence},
		{"stray", "whoever reads the tree takes every file for a part of it", Stray},
		{"strings", "the project speaks of itself alone, on any machine, and is finished", Strings},
		{"size", "what does not fit on a few screens is two things", Size},
		{"comment", "go doc shows one introduction to each package", PackageComment},
		{"readme", "a stranger finds out what a room is for without reading its code", Readme},
		{"init", "nothing happens before main says so, and nothing is shared behind anybody's back", Globals},
		{"sleep", "a sleep is too short on a slow machine and too long on a fast one: wait for the event", Sleeps},
		{"skip", "a test that does not run says which feature of the kernel it misses", Skips},
		{"undo", "a clean-up that looks at a variable named err does not run when another one of that name was returned", DeferredErr},
		{"names", "a room or type is named for what it gives", Names},
		{"kinds", "every kind of error has a status in every protocol", Kinds},
		{"tour", "a reader who follows the tour finds what it names", Tour},
		{"documents", "who reads how it works looks for what the page names", Documents},
		{"fields", "who reads that a field is wrong finds the option of that name", Fields},
		{"operations", "what a person reads in an error is found in the log and among the events", Operations},
		{"modules", "whoever imports the module builds what we test", Modules},
	}
}
