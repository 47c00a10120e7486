package daemon

import (
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/driver/bridge"
	"github.com/libnetwork/cnm/store/bolt"
)
