// SPDX-License-Identifier: Apache-2.0

// Package rules holds the conventions of this tree as tests. A rule is a function from a [Tree] to what breaks it; each has a
// small tree in testdata that does, so that no rule can fall asleep.
package rules
