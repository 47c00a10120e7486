// SPDX-License-Identifier: Apache-2.0

// Package lab sends packets through the whole product: sandboxes on networks, a host, and a neighbour on its LAN. Every test has
// namespaces of its own, and ends with the audit: records against kernel, and, all deleted, the host against what it was.
package lab
