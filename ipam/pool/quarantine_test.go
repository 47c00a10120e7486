// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// bed is an allocator with a quarantine and one pool.
type bed struct {
	*testing.T
	*Allocator
	*sweeps
	pool cnm.Pool
}

func newBed(t *testing.T, subnet string) *bed {
	t.Helper()
	q := &sweeps{}
	b := &bed{T: t, Allocator: open(t, Config{Quarantine: q}), sweeps: q}
	b.pool = b.create(subnet, false)
	return b
}

func (b *bed) create(subnet string, overlap bool) cnm.Pool {
	b.Helper()
	req := request(cnm.FamilyOf(prefix(subnet).Addr()), subnet)
	req.Overlap = overlap
	p, err := b.CreatePool(b.Context(), req)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// takes allocates and checks the address and how often the quarantine was waited for.
func (b *bed) takes(req cnm.AddressRequest, want string, waits int) {
	b.Helper()
	if req.Pool == "" {
		req.Pool = b.pool.ID
	}
	before := b.waited()
	l, err := b.Allocate(b.Context(), req)
	if err != nil {
		b.Fatalf("allocate %v: %v", req, err)
	}
	if l.Address.Addr() != addr(want) || b.waited()-before != waits {
		b.Errorf("got %v after %d waits, want %s after %d", l.Address, b.waited()-before, want, waits)
	}
}

func (b *bed) release(a string) {
	b.Helper()
	if err := b.Release(b.Context(), b.pool.ID, addr(a)); err != nil {
		b.Error(err)
	}
}

func TestAutomaticGoesRound(t *testing.T) {
	t.Parallel()
	for _, c := range [][]string{
		{"10.0.0.0/29", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"},
		{"fd00::1:0/126", "fd00::1:1", "fd00::1:2", "fd00::1:3"},
	} {
		b := newBed(t, c[0])
		all := c[1:]
		b.takes(cnm.AddressRequest{}, all[0], 0)
		b.release(all[0])
		b.sweep()
		b.takes(cnm.AddressRequest{}, all[1], 0) // not the lowest that is free
		b.release(all[1])
		for _, a := range all[2:] {
			b.takes(cnm.AddressRequest{}, a, 0)
		}
		b.takes(cnm.AddressRequest{}, all[0], 0) // round, and swept
		b.takes(cnm.AddressRequest{}, all[1], 1) // in quarantine, the last one
	}
}

func TestAutomaticWaitsForTheOldest(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.0/29")
	for _, a := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"} {
		b.takes(cnm.AddressRequest{}, a, 0)
	}
	for _, a := range []string{"10.0.0.5", "10.0.0.2", "10.0.0.4"} {
		b.release(a)
	}
	b.takes(cnm.AddressRequest{}, "10.0.0.5", 1)
	b.takes(cnm.AddressRequest{}, "10.0.0.2", 1)
	b.takes(cnm.AddressRequest{}, "10.0.0.4", 1)
	if _, err := b.Allocate(b.Context(), cnm.AddressRequest{Pool: b.pool.ID}); !errors.Is(err, cnm.Exhausted) {
		t.Error(err)
	}
}

func TestWantedInQuarantine(t *testing.T) {
	t.Parallel()
	b := newBed(t, "fd00::/64")
	want := func(owner cnm.EndpointID, replay bool) cnm.AddressRequest {
		return cnm.AddressRequest{Address: addr("fd00::7"), Owner: owner, Replay: replay}
	}
	b.takes(want("one", false), "fd00::7", 0)
	b.release("fd00::7")
	b.takes(want("one", false), "fd00::7", 0) // flows that name it are its own
	b.release("fd00::7")
	b.takes(want("two", false), "fd00::7", 1)
	b.release("fd00::7")
	b.takes(want("three", true), "fd00::7", 0)
	b.release("fd00::7")
	b.sweep()
	b.takes(want("four", false), "fd00::7", 0)
	b.release("fd00::7")
	b.takes(cnm.AddressRequest{Address: addr("fd00::7"), Purpose: cnm.ForReserved}, "fd00::7", 1)
	b.release("fd00::7")
	b.takes(cnm.AddressRequest{Address: addr("fd00::7"), Purpose: cnm.ForReserved}, "fd00::7", 1) // nobody is not the same owner
	for _, n := range b.names {
		if n != netip.AddrPortFrom(addr("fd00::7"), 0) {
			t.Errorf("marked %v", n)
		}
	}
	if len(b.names) != 6 {
		t.Errorf("%d marks for 6 releases", len(b.names))
	}
}

func TestQuarantineOutlivesThePool(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.0/24")
	b.takes(cnm.AddressRequest{Purpose: cnm.ForGateway}, "10.0.0.1", 0)
	b.takes(cnm.AddressRequest{Owner: "one"}, "10.0.0.2", 0)
	b.takes(cnm.AddressRequest{Owner: "two"}, "10.0.0.3", 0)
	b.release("10.0.0.2")
	if err := b.DeletePool(b.Context(), b.pool.ID); err != nil {
		t.Fatal(err)
	}
	b.pool = b.create("10.0.0.0/25", false)
	b.takes(cnm.AddressRequest{Owner: "new"}, "10.0.0.4", 0)            // not .1 to .3
	b.takes(cnm.AddressRequest{Purpose: cnm.ForGateway}, "10.0.0.1", 1) // where it was
	b.takes(cnm.AddressRequest{Owner: "two", Address: addr("10.0.0.3")}, "10.0.0.3", 0)
	b.sweep()
	b.takes(cnm.AddressRequest{Owner: "new", Address: addr("10.0.0.2")}, "10.0.0.2", 0)
}

func TestQuarantineInOverlappingPools(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.0/29")
	first := b.pool
	second := b.create("10.0.0.0/24", true)
	for _, p := range []cnm.Pool{first, second} {
		b.takes(cnm.AddressRequest{Pool: p.ID, Address: addr("10.0.0.1")}, "10.0.0.1", 0)
	}
	b.release("10.0.0.1")
	b.takes(cnm.AddressRequest{Pool: first.ID}, "10.0.0.2", 0)
	b.release("10.0.0.2")
	b.takes(cnm.AddressRequest{Pool: second.ID}, "10.0.0.3", 0) // .1 is held there, .2 was freed elsewhere
	b.sweep()
	b.takes(cnm.AddressRequest{Pool: second.ID, Address: addr("10.0.0.2")}, "10.0.0.2", 0)
	if err := b.DeletePool(b.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.0.0.4", "10.0.0.5", "10.0.0.6"} {
		b.takes(cnm.AddressRequest{}, a, 0)
	}
	for range 3 {
		if _, err := b.Allocate(t.Context(), cnm.AddressRequest{Pool: first.ID}); err != nil {
			t.Error(err) // .1 to .3, each after a wait
		}
	}
	if _, err := b.Allocate(t.Context(), cnm.AddressRequest{Pool: first.ID}); !errors.Is(err, cnm.Exhausted) {
		t.Error(err)
	}
}

// TestWaitWithoutLock changes what is waited for, from within the wait.
func TestWaitWithoutLock(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.4/30")
	b.takes(cnm.AddressRequest{}, "10.0.0.5", 0)
	b.takes(cnm.AddressRequest{}, "10.0.0.6", 0)
	b.release("10.0.0.5")
	b.before = func(ctx context.Context) error {
		b.before = nil
		b.release("10.0.0.6")
		_, err := b.Allocate(ctx, cnm.AddressRequest{Pool: b.pool.ID, Address: addr("10.0.0.5"), Owner: "thief", Replay: true})
		return err
	}
	b.takes(cnm.AddressRequest{}, "10.0.0.6", 2)
	b.release("10.0.0.5")
	b.before = func(ctx context.Context) error {
		b.before = nil
		return b.DeletePool(ctx, b.pool.ID)
	}
	if _, err := b.Allocate(t.Context(), cnm.AddressRequest{Pool: b.pool.ID}); !errors.Is(err, cnm.NotFound) {
		t.Errorf("pool deleted during the wait: %v", err)
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.4/32")
	b.takes(cnm.AddressRequest{}, "10.0.0.4", 0)
	b.release("10.0.0.4")
	ctx, cancel := context.WithCancel(t.Context())
	b.before = func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	for _, a := range []netip.Addr{{}, addr("10.0.0.4")} {
		_, err := b.Allocate(ctx, cnm.AddressRequest{Pool: b.pool.ID, Address: a})
		if !errors.Is(err, cnm.Unavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("allocate %v: %v", a, err)
		}
	}
	b.before = nil
	b.takes(cnm.AddressRequest{}, "10.0.0.4", 1)
}

// TestWardForgets frees the same addresses over and over: nothing grows, whether sweeps are done or not.
func TestWardForgets(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.0/16")
	b.takes(cnm.AddressRequest{}, "10.0.0.1", 0)
	b.release("10.0.0.1") // the oldest, and nobody wants it
	for i := range 50_000 {
		a := numberOf(addr("10.0.0.0"))
		a.lo += uint64(2 + i%100)
		b.takes(cnm.AddressRequest{Address: a.addr(b.pool.Prefix), Owner: "one"}, a.addr(b.pool.Prefix).String(), 0)
		b.release(a.addr(b.pool.Prefix).String())
		if i > 25_000 && i%1000 == 0 {
			b.sweep()
		}
		if n := len(b.ward.queue); len(b.ward.stays) > 101 || n > 2*101+batch+1 {
			t.Fatalf("%d in quarantine, queue of %d", len(b.ward.stays), n)
		}
	}
}

// TestRangeWaitsForItsOwn has a full range, and an address beside it in quarantine: no wait would help.
func TestRangeWaitsForItsOwn(t *testing.T) {
	t.Parallel()
	b := newBed(t, "fd00::/64")
	req := request(cnm.IPv6, "fd01::/64")
	req.Subnet.Range = prefix("fd01::8/127")
	p, err := b.CreatePool(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	b.pool = p
	for _, a := range []string{"fd01::8", "fd01::9"} {
		b.takes(cnm.AddressRequest{}, a, 0)
	}
	b.takes(cnm.AddressRequest{Address: addr("fd01::7")}, "fd01::7", 0)
	b.release("fd01::7")
	if _, err := b.Allocate(t.Context(), cnm.AddressRequest{Pool: p.ID}); !errors.Is(err, cnm.Exhausted) || b.waited() != 0 {
		t.Errorf("error %v after %d waits", err, b.waited())
	}
}

// TestSweptBehindMany has the only address of a pool freed after many of another one.
func TestSweptBehindMany(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.0/16")
	one := b.create("10.1.0.0/32", false)
	b.takes(cnm.AddressRequest{Pool: one.ID}, "10.1.0.0", 0)
	var all []netip.Addr
	for range 5 * batch {
		l, err := b.Allocate(t.Context(), cnm.AddressRequest{Pool: b.pool.ID})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l.Address.Addr())
	}
	for _, a := range all {
		b.release(a.String())
	}
	if err := b.Release(t.Context(), one.ID, addr("10.1.0.0")); err != nil {
		t.Fatal(err)
	}
	b.sweep()
	b.takes(cnm.AddressRequest{Pool: one.ID}, "10.1.0.0", 0)
	if n := len(b.ward.stays); n != 0 {
		t.Errorf("%d in quarantine after a sweep", n)
	}
}

func TestReplayMovesTheCursor(t *testing.T) {
	t.Parallel()
	b := newBed(t, "10.0.0.0/24")
	b.takes(cnm.AddressRequest{Address: addr("10.0.0.254"), Purpose: cnm.ForGateway, Replay: true}, "10.0.0.254", 0)
	for _, a := range []string{"10.0.0.3", "10.0.0.8", "10.0.0.5"} {
		b.takes(cnm.AddressRequest{Address: addr(a), Owner: "one", Replay: true}, a, 0)
	}
	b.takes(cnm.AddressRequest{}, "10.0.0.9", 0)
}

func TestAllocateErrors(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	sub := cnm.Subnet{Prefix: prefix("10.0.0.0/29"), Range: prefix("10.0.0.4/30"), Reserved: map[string]netip.Addr{"rtr": addr("10.0.0.4")}}
	p, err := a.CreatePool(t.Context(), cnm.PoolRequest{Network: "aaaa", Family: cnm.IPv4, Subnet: sub})
	if err != nil {
		t.Fatal(err)
	}
	want := func(s string) cnm.AddressRequest { return cnm.AddressRequest{Pool: p.ID, Address: addr(s)} }
	for _, req := range []cnm.AddressRequest{
		{Pool: p.ID, Owner: "bbbb"},
		{Pool: p.ID, Purpose: cnm.ForGateway},
		{Pool: p.ID, Address: addr("10.0.0.2"), Purpose: cnm.ForReserved},
		want("10.0.0.3"),
	} {
		if _, err := a.Allocate(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		req  cnm.AddressRequest
		kind cnm.Kind
		text string
	}{
		{cnm.AddressRequest{Pool: p.ID}, cnm.Exhausted, "ip-range 10.0.0.4/30 of subnet 10.0.0.0/29 of network aaaa has no free address; delete endpoints, or use a network with more addresses"},
		{cnm.AddressRequest{Pool: p.ID, Purpose: cnm.ForGateway}, cnm.Exhausted, "ip-range 10.0.0.4/30 of subnet 10.0.0.0/29 of network aaaa has no free address; delete endpoints, or use a network with more addresses"},
		{want("10.0.0.5"), cnm.Exists, "ip 10.0.0.5 of subnet 10.0.0.0/29 is taken by endpoint bbbb; choose another one"},
		{want("10.0.0.6"), cnm.Exists, "ip 10.0.0.6 of subnet 10.0.0.0/29 is taken by the gateway; choose another one"},
		{want("10.0.0.4"), cnm.Exists, "ip 10.0.0.4 of subnet 10.0.0.0/29 is reserved for rtr; choose another one"},
		{want("10.0.0.2"), cnm.Exists, "ip 10.0.0.2 of subnet 10.0.0.0/29 is reserved; choose another one"},
		{want("10.0.0.3"), cnm.Exists, "ip 10.0.0.3 of subnet 10.0.0.0/29 is taken by an endpoint; choose another one"},
		{want("10.0.0.7"), cnm.Invalid, "ip 10.0.0.7 is the broadcast address of subnet 10.0.0.0/29; choose one from 10.0.0.1 to 10.0.0.6"},
		{want("10.0.0.0"), cnm.Invalid, "ip 10.0.0.0 is the network address of subnet 10.0.0.0/29; choose one from 10.0.0.1 to 10.0.0.6"},
		{want("10.0.0.8"), cnm.Invalid, "ip 10.0.0.8 is outside subnet 10.0.0.0/29; choose one from 10.0.0.1 to 10.0.0.6"},
		{cnm.AddressRequest{Pool: "gone"}, cnm.NotFound, `address pool "gone" does not exist; create its network first`},
	} {
		_, err := a.Allocate(t.Context(), c.req)
		if err == nil || err.Error() != c.text || !errors.Is(err, c.kind) {
			t.Errorf("%+v\n got %v (%v)\nwant %s (%v)", c.req, err, cnm.KindOf(err), c.text, c.kind)
		}
	}
}
