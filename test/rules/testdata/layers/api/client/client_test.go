package client

import (
	"github.com/libnetwork/cnm/api/server"
	"github.com/libnetwork/cnm/internal/daemon" // found
	"github.com/libnetwork/cnm/store/mem"
)
