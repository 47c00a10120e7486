package controller

import (
	"github.com/libnetwork/cnm/api/server" // found
	"github.com/libnetwork/cnm/store/mem"
	"pgregory.net/rapid"
)
