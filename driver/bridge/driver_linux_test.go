// SPDX-License-Identifier: Apache-2.0

package bridge_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/driver/bridge"
	"github.com/libnetwork/cnm/driver/drivertest"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/ports"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Factory{Driver: start})
}

// start makes a driver with its firewall and its holder of ports, as the daemon does.
func start(t *testing.T) drivertest.Instance {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	fw, err := firewall.Open(t.Context(), firewall.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	holder, err := ports.New(ports.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	d, err := bridge.New(bridge.Config{Log: log, Firewall: fw, Ports: holder, Group: 1 << 20, Opened: fw.Opened(), Published: func(cnm.Port) {}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- fw.Run(ctx) }()
	return drivertest.Instance{Driver: d, Close: func() error {
		stop()
		err := d.Close()
		holder.Close()
		if e := <-ended; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
		return errors.Join(err, fw.Close())
	}}
}
