// SPDX-License-Identifier: Apache-2.0

package cnm

import "time"

// Event tells of one change, after it happened.
type Event struct {
	Time   time.Time
	Object string // "network", "endpoint", "sandbox", "port", "drift"
	Action string // "create", "delete", "join", "leave", "publish", "unpublish", "repair", "report", "collect", "adopt", "rename"

	Network  NetworkID
	Endpoint EndpointID
	Sandbox  SandboxID
	Name     string            // of the object, as its user calls it
	Detail   map[string]string // what there is to say besides
}
