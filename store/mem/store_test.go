// SPDX-License-Identifier: Apache-2.0

package mem_test

import (
	"testing"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/store/mem"
	"github.com/libnetwork/cnm/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Subject{Open: func(testing.TB) cnm.Store { return mem.New() }})
}
