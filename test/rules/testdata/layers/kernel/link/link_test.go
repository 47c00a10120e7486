package link

import (
	"github.com/libnetwork/cnm"          // found
	"github.com/libnetwork/cnm/firewall" // found
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"go.uber.org/goleak"
)
