// SPDX-License-Identifier: Apache-2.0

// Package install writes and removes the files by which other programs of a host find us. It starts nothing, and touches no
// file that it did not write.
package install
