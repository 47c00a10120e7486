package server

import (
	"github.com/libnetwork/cnm/api/wire"
	"github.com/libnetwork/cnm/controller" // found
)
