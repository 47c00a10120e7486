// SPDX-License-Identifier: Apache-2.0

// Package servertest has a controller in memory, with which the API, its client and the command line are tested without a kernel.
package servertest
