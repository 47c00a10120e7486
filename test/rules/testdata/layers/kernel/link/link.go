package link

import (
	"github.com/libnetwork/cnm" // found
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/mdlayher/netlink"
	"github.com/spf13/cobra" // found
)
