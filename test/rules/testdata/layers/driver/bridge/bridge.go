package bridge

import (
	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller" // found
	"github.com/libnetwork/cnm/driver/bridge/plan"
	"github.com/libnetwork/cnm/driver/drivertest" // found
	"github.com/libnetwork/cnm/driver/macvlan"    // found
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/kerneltest" // found
	"github.com/libnetwork/cnm/store/mem"         // found
	"github.com/vishvananda/netlink"              // found
)
