// SPDX-License-Identifier: Apache-2.0

// Package oci lets containers of OCI runtimes (runc, crun and whatever runs their hooks) join networks.
//
// [Hook] is what a runtime calls: at createRuntime it adopts the container's network namespace as a sandbox and joins it to the networks that the
// container's annotations name ([Parse]); at poststop, where it is called then, it deletes the sandbox, which the daemon collects otherwise. [Edit] writes hooks, annotations and
// mounts into a bundle's config.json, or the namespace of a sandbox that was made before.
//
// It only translates: all it asks of the daemon is in [Daemon].
package oci
