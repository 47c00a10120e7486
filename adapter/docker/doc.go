// SPDX-License-Identifier: Apache-2.0

// Package docker serves Docker's network and address manager plugin protocol, so that an unmodified Docker daemon has its
// containers on our networks. It only translates: Docker's calls become verbs of the model.
//
// Docker's networks and endpoints keep their identifiers: the first half of Docker's is ours. A container is a sandbox at the path
// that Docker gives for its namespace.
package docker
