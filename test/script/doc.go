// SPDX-License-Identifier: Apache-2.0

// Package script tests the command line and the daemon with scripts, over the real socket.
package script
