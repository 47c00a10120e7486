// SPDX-License-Identifier: Apache-2.0

// Package bolt is the store on disk: a [cnm.Store] in two bbolt files, one for each lifetime.
//
// STATE/cnm.db holds networks and kept endpoints; each change of it is on the disk when the call returns.
// RUN/boot-BOOTID-COOKIE.db holds sandboxes, joins and all other endpoints. It is never flushed, since it means nothing
// after the boot it is named for; it survives the death of the process all the same, in the kernel's page cache.
//
// A file is checked whole before bbolt sees it: bbolt maps it into memory and trusts it, and would panic, or read
// a lost record as one that never was. Whatever is not exactly what this package wrote is refused, and left as it is.
package bolt
