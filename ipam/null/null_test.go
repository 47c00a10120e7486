// SPDX-License-Identifier: Apache-2.0

package null_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/ipam/ipamtest"
	"github.com/libnetwork/cnm/ipam/null"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	ipamtest.Run(t, func(*testing.T) cnm.Allocator { return null.Allocator{} }, ipamtest.Options{NoAddresses: true})
}

func TestNoOptions(t *testing.T) {
	t.Parallel()
	var a null.Allocator
	if d := a.Describe(t.Context()); d.Addresses || len(d.Options) != 0 {
		t.Errorf("description %+v of an allocator without addresses and options", d)
	}
	nw := cnm.Network{IPAMOptions: map[string]string{"ipv4-size": "24"}}
	if err := a.Decode(nw, nil); !errors.Is(err, cnm.Invalid) {
		t.Errorf("unknown option: %v", err)
	}
	if err := a.Decode(nw, &cnm.Endpoint{}); err != nil {
		t.Errorf("an endpoint has no options of the address manager: %v", err)
	}
	if err := a.Decode(cnm.Network{}, nil); err != nil {
		t.Error(err)
	}
}
