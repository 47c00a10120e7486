// SPDX-License-Identifier: Apache-2.0

// Package mem is the store that forgets: a [cnm.Store] in memory, for tests and for programs that need no record of what
// they made beyond their own life. It behaves as the stores on disk do, which the suite in storetest checks.
package mem
