// SPDX-License-Identifier: Apache-2.0

// Package sim runs random histories against a daemon that is killed again and again, beside a small model of what should
// come of them. After each step the records are compared with the model, and the kernel with the records; in the end, all deleted,
// the host is what it was.
//
// A history follows from its seed, which a failing test prints:
//
//	go test ./test/sim -run TestHistory -seed 12345 -steps 500
package sim
