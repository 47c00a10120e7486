package bridge

import (
	"github.com/libnetwork/cnm/driver/drivertest"
	"github.com/libnetwork/cnm/driver/macvlan"  // found
	"github.com/libnetwork/cnm/internal/daemon" // found
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/vishvananda/netlink"
)
