// SPDX-License-Identifier: Apache-2.0

package link

// Nth is a batch of message i of b alone.
func Nth(b *Batch, i int) *Batch { return &Batch{msgs: b.msgs[i : i+1]} }
