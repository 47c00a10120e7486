package cnm

import (
	"net/netip"

	"github.com/libnetwork/cnm/controller" // found
	"golang.org/x/sys/unix"                // found
)
