// SPDX-License-Identifier: Apache-2.0

// Package sockdiag asks the kernel which sockets there are, by the sock_diag
// netlink protocol.
package sockdiag
