package cnm_test

import (
	"github.com/libnetwork/cnm/controller" // found
)
