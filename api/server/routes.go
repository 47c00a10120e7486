// SPDX-License-Identifier: Apache-2.0

package server

// routes is the whole API. The description in api/openapi.yaml is checked against it.
func routes() []route {
	return []route{
		{pattern: "GET /livez", role: ReadNetworks, op: "livez", serve: (*Server).live},
		{pattern: "GET /readyz", role: ReadNetworks, op: "readyz", query: []string{"verbose"}, serve: (*Server).ready},

		{pattern: "GET /v1/networks", role: ReadNetworks, op: "network ls", query: []string{"filter"}, serve: (*Server).listNetworks},
		{pattern: "POST /v1/networks", role: Change, op: "network create", body: true, serve: (*Server).createNetwork},
		{pattern: "POST /v1/networks/prune", role: Change, op: "network prune", body: true, serve: (*Server).pruneNetworks},
		{pattern: "GET /v1/networks/{network}", role: ReadNetworks, op: "network inspect", serve: (*Server).inspectNetwork},
		{pattern: "DELETE /v1/networks/{network}", role: Change, op: "network delete", query: []string{"force"}, serve: (*Server).deleteNetwork},

		{pattern: "GET /v1/sandboxes", role: Change, op: "sandbox ls", query: []string{"filter"}, serve: (*Server).listSandboxes},
		{pattern: "POST /v1/sandboxes", role: Change, op: "sandbox create", body: true, serve: (*Server).createSandbox},
		{pattern: "POST /v1/sandboxes/prune", role: Change, op: "sandbox prune", body: true, serve: (*Server).pruneSandboxes},
		{pattern: "GET /v1/sandboxes/{sandbox}", role: Change, op: "sandbox inspect", serve: (*Server).inspectSandbox},
		{pattern: "DELETE /v1/sandboxes/{sandbox}", role: Change, op: "sandbox delete", query: []string{"label"}, serve: (*Server).deleteSandbox},
		{pattern: "POST /v1/sandboxes/{sandbox}/enter", role: Change, op: "sandbox enter", serve: (*Server).enterSandbox},

		{pattern: "GET /v1/endpoints", role: Change, op: "endpoint ls", query: []string{"filter"}, serve: (*Server).listEndpoints},
		{pattern: "POST /v1/endpoints", role: Change, op: "endpoint create", body: true, serve: (*Server).createEndpoint},
		{pattern: "POST /v1/endpoints/prune", role: Change, op: "endpoint prune", body: true, serve: (*Server).pruneEndpoints},
		{pattern: "GET /v1/endpoints/{id}", role: Change, op: "endpoint inspect", serve: (*Server).inspectEndpoint},
		{pattern: "GET /v1/endpoints/{network}/{name}", role: Change, op: "endpoint inspect", serve: (*Server).inspectEndpoint},
		{pattern: "DELETE /v1/endpoints/{id}", role: Change, op: "endpoint delete", query: []string{"force"}, serve: (*Server).deleteEndpoint},
		{pattern: "DELETE /v1/endpoints/{network}/{name}", role: Change, op: "endpoint delete", query: []string{"force"}, serve: (*Server).deleteEndpoint},

		{pattern: "POST /v1/provide", role: Change, op: "provide", body: true, serve: (*Server).provide},
		{pattern: "POST /v1/join", role: Change, op: "endpoint join", body: true, serve: (*Server).join},
		{pattern: "POST /v1/leave", role: Change, op: "endpoint leave", body: true, serve: (*Server).leave},
		{pattern: "POST /v1/attach", role: Change, op: "attach", body: true, serve: (*Server).attach},
		{pattern: "POST /v1/detach", role: Change, op: "detach", body: true, serve: (*Server).detach},
		{pattern: "POST /v1/publish", role: Change, op: "publish", body: true, serve: (*Server).publish},

		{pattern: "GET /v1/drivers", role: Change, op: "driver ls", query: []string{"filter"}, serve: (*Server).listDrivers},
		{pattern: "GET /v1/drivers/{driver}", role: Change, op: "driver inspect", serve: (*Server).inspectDriver},
		{pattern: "GET /v1/events", role: Change, op: "events", stream: (*Server).events},
	}
}
