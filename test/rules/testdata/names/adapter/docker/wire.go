package docker

type EndpointInfo struct{}
