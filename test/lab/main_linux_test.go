// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"testing"

	"github.com/libnetwork/cnm/test/lab/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
