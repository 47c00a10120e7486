package firewall

import (
	"github.com/google/nftables" // found
	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/ports" // found
)
