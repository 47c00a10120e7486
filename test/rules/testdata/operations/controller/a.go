// SPDX-License-Identifier: Apache-2.0

package controller

import cnm "github.com/libnetwork/cnm"

func ops(err error, action string) {
	_ = cnm.During("network create", err)
	_ = cnm.During("create network", err) // found
	_ = cnm.During("attach", err)
	_ = cnm.During("join", err) // found
	_ = &cnm.Error{Op: "sandbox delete", Err: err}
	_ = &cnm.Error{Op: "sandbox rm", Err: err} // found
	_ = route{pattern: "GET /v1/networks", op: "network ls"}
	_ = route{pattern: "GET /v1/networks", op: "networks"} // found
	_ = cnm.Event{Object: "endpoint", Action: "leave"}
	_ = cnm.Event{Object: "endpoint", Action: "detach"} // found
	_ = cnm.Event{Object: "port", Action: action}
}
