package cnm_test

import (
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/kernel/link"
)
