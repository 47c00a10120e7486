// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"testing"

	"github.com/libnetwork/cnm/driver/drivertest"
	"github.com/libnetwork/cnm/driver/host"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Factory{Driver: func(*testing.T) drivertest.Instance { return drivertest.Instance{Driver: host.Driver{}} }})
}
