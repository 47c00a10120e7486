// SPDX-License-Identifier: Apache-2.0

// Package wire holds the JSON of the API: what a request carries, what an answer shows, and how an error travels.
//
// Requests hold text as its user wrote it; their Spec and Decode methods turn it into the model's values and name the
// field at fault. Answers hold typed values, and their lists and maps are never null, so that scripts need no special
// case. [Decode] reads strictly, as the daemon does; a client reads answers leniently, so that a newer daemon may say more.
package wire
