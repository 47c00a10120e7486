// SPDX-License-Identifier: Apache-2.0

package cnm_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/dns"
	"github.com/libnetwork/cnm/driver/bridge"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/ipam/pool"
	"github.com/libnetwork/cnm/kernel/conntrack"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/ports"
	"github.com/libnetwork/cnm/sandbox"
	"github.com/libnetwork/cnm/store/mem"
)

// Example attaches a sandbox to a network without any daemon: the parts are composed, and the controller does the rest. It
// changes the network namespace it runs in, so it needs one of its own: TestExample gives it that.
func Example() { //nolint:testableexamples // it must not run where the tests run
	ctx := context.Background()
	ctl, done, err := compose(ctx, "/run/cnm")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	web, err := ctl.CreateNetwork(ctx, cnm.NetworkSpec{Name: "web"})
	if err != nil {
		fmt.Println(err)
		return
	}
	shop, err := ctl.CreateSandbox(ctx, cnm.SandboxSpec{Name: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ports, err := cnm.ParsePortSpecs("127.0.0.1:8080:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	at, err := ctl.Attach(ctx, cnm.AttachSpec{Network: web.ID, Sandbox: shop.ID, Endpoint: cnm.EndpointSpec{Publish: ports}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(at.Join.Interface, at.Endpoint.Address(cnm.IPv4), at.Join.Result.Ports[0])
}

// compose builds a controller over the bridge driver and a store in memory.
func compose(ctx context.Context, run string) (*controller.Controller, func(), error) {
	if err := os.MkdirAll(run, 0o755); err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.DiscardHandler)
	freed := swept{conntrack.NewSweeper(conntrack.Config{})}
	fw, err := firewall.Open(ctx, firewall.Config{Log: log})
	if err != nil {
		return nil, nil, err
	}
	holder, err := ports.New(ports.Config{Quarantine: freed})
	if err != nil {
		return nil, nil, err
	}
	br, err := bridge.New(bridge.Config{Log: log, Firewall: fw, Ports: holder, Group: 67, Published: func(cnm.Port) {}})
	if err != nil {
		return nil, nil, err
	}
	addresses, err := pool.New(pool.Config{Seed: []byte("example"), Host: func(context.Context) ([]pool.Used, error) { return nil, nil }, Quarantine: freed})
	if err != nil {
		return nil, nil, err
	}
	stack, err := sandbox.New(sandbox.Config{RunDir: run})
	if err != nil {
		return nil, nil, err
	}
	store := mem.New()
	records, err := store.Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctl, err := controller.New(ctx, controller.Config{
		Log: log, Drivers: map[string]cnm.Driver{"bridge": br}, Allocators: map[string]cnm.Allocator{"pool": addresses},
		Store: store, Stack: stack, Names: dns.New(dns.Config{RunDir: run}), Together: fw.Together,
	}, records)
	return ctl, func() {
		_ = stack.Close()
		_ = br.Close()
		holder.Close()
		_ = fw.Close()
	}, err
}

// swept is a sweeper in the words of the contract.
type swept struct{ *conntrack.Sweeper }

func (s swept) Mark(p cnm.Protocol, a netip.AddrPort) uint64 { return s.Sweeper.Mark(uint8(p), a) }

func TestExample(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t) // what runs keeps its network when the program ends
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout := os.Stdout
		os.Stdout = writer
		Example()
		os.Stdout = stdout
		_ = writer.Close()
		said, err := io.ReadAll(reader)
		_ = reader.Close()
		if want := "eth0 172.17.0.2 127.0.0.1:8080->80/tcp\n"; err != nil || string(said) != want {
			t.Errorf("the example says %q, %v, want %q", said, err, want)
		}
		for _, pin := range []string{"/run/cnm/netns/shop", "/run/cnm/netns"} {
			if err := unix.Unmount(pin, unix.MNT_DETACH); err != nil {
				t.Errorf("taking %s away: %v", pin, err)
			}
		}
	})
}
