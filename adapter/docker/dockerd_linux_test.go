// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/netns"
)

// container is what Docker's daemon keeps of one, and does for it: its namespace, and what is left to do in that after a Join.
type container struct {
	r     *rig
	old   bool   // as Docker 20.10 does it: the namespace is made after all joins
	key   string // where the namespace is pinned
	made  bool
	moves []func()
	stop  []func()
}

func (r *rig) container(old bool) *container {
	r.t.Helper()
	c := &container{r: r, old: old, key: filepath.Join(dockerDir, id()[:12])}
	r.t.Cleanup(func() {
		for _, stop := range c.stop {
			stop()
		}
	})
	if !old {
		c.make()
	}
	return c
}

// make makes the namespace, and does in it what waited for it.
func (c *container) make() {
	c.r.t.Helper()
	_, err := netns.Make(c.key, nil)
	c.r.ok(err)
	c.made = true
	h := c.handle()
	defer h.Close()
	lo, err := h.LinkByName("lo")
	c.r.ok(err)
	c.r.ok(h.LinkSetUp(lo))
	for _, move := range c.moves {
		move()
	}
	c.moves = nil
}

// die ends the namespace.
func (c *container) die() {
	c.r.t.Helper()
	for _, stop := range c.stop {
		stop()
	}
	c.stop = nil
	c.r.ok(netns.Unpin(c.key))
	c.made = false
}

// handle speaks rtnetlink in the namespace.
func (c *container) handle() *netlink.Handle {
	c.r.t.Helper()
	ns, err := netns.Open(c.key)
	c.r.ok(err)
	defer ns.Close()
	h, err := netlink.NewHandleAt(vnetns.NsHandle(ns.Fd()))
	c.r.ok(err)
	return h // the caller closes it
}

// endpoint is one network's of a container.
type endpoint struct {
	c                 *container
	network, id       string
	addresses         []string
	mac               string
	gateway, gateway6 string
}

const portmap = `"com.docker.network.portmap":[PORTS],"com.docker.network.endpoint.exposedports":[]`

// connect puts a container on a network as Docker does: CreateEndpoint, Join, and, for the endpoint that gets the default route,
// ProgramExternalConnectivity. ports is the portmap's content.
func (c *container) connect(network string, ports string, addresses ...string) *endpoint {
	c.r.t.Helper()
	e := &endpoint{c: c, network: network, id: id(), addresses: addresses}
	e.create(`{`+portmap+`}`, "PORTS", ports)
	e.join(ports)
	return e
}

func (e *endpoint) words(more ...string) []string {
	a := []string{"", ""}
	for _, text := range e.addresses {
		if netip.MustParsePrefix(text).Addr().Is4() {
			a[0] = text
		} else {
			a[1] = text
		}
	}
	return append([]string{"NID", e.network, "EID", e.id, "ADDRESS4", a[0], "ADDRESS6", a[1], "KEY", e.c.key}, more...)
}

func (e *endpoint) create(options string, more ...string) {
	e.c.r.t.Helper()
	a := e.c.r.done("NetworkDriver.CreateEndpoint",
		`{"NetworkID":"NID","EndpointID":"EID","Interface":{"Address":"ADDRESS4","AddressIPv6":"ADDRESS6","MacAddress":""},"Options":OPTIONS}`,
		append([]string{"OPTIONS", expand(options, more)}, e.words()...)...)
	face, _ := a["Interface"].(map[string]any)
	for key, value := range face {
		if key != "MacAddress" {
			e.c.r.t.Errorf("the answer has %s %v, which Docker gave", key, value)
		}
	}
	e.mac, _ = face["MacAddress"].(string)
}

func (e *endpoint) join(ports string) {
	e.c.r.t.Helper()
	a := e.c.r.done("NetworkDriver.Join", `{"NetworkID":"NID","EndpointID":"EID","SandboxKey":"KEY","Options":{`+portmap+`}}`, e.words("PORTS", ports)...)
	e.gateway, _ = a["Gateway"].(string)
	e.gateway6, _ = a["GatewayIPv6"].(string)
	if a["DisableGatewayService"] != true {
		e.c.r.t.Errorf("Join answered %v", a)
	}
	name, moves := a["InterfaceName"].(map[string]any)
	if moves == e.c.made {
		e.c.r.t.Fatalf("Join answered %v, and the namespace is there: %t", a, e.c.made)
	}
	if moves {
		e.c.moves = append(e.c.moves, func() { e.move(name["SrcName"].(string), name["DstPrefix"].(string)) })
	}
}

// program is what Docker does for the endpoint that gets the default route.
func (e *endpoint) program(ports string) {
	e.c.r.t.Helper()
	e.route()
	e.c.r.done("NetworkDriver.ProgramExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID","Options":{`+portmap+`}}`, e.words("PORTS", ports)...)
}

// route sets the default routes as Docker does: by the link that leads to the gateway.
func (e *endpoint) route() {
	e.c.r.t.Helper()
	if !e.c.made {
		e.c.moves = append(e.c.moves, e.route)
		return
	}
	h := e.c.handle()
	defer h.Close()
	for _, text := range []string{e.gateway, e.gateway6} {
		if text == "" {
			continue
		}
		gw := net.ParseIP(text)
		routes, err := h.RouteGet(gw)
		e.c.r.ok(err)
		if err := h.RouteAdd(&netlink.Route{LinkIndex: routes[0].LinkIndex, Gw: gw}); err != nil {
			e.c.r.t.Errorf("default route by %s: %v", text, err)
		}
	}
}

// move is what Docker does with an interface that it was told to move.
func (e *endpoint) move(name, prefix string) {
	e.c.r.t.Helper()
	l, err := netlink.LinkByName(name)
	e.c.r.ok(err)
	ns, err := netns.Open(e.c.key)
	e.c.r.ok(err)
	defer ns.Close()
	e.c.r.ok(netlink.LinkSetNsFd(l, ns.Fd()))
	h := e.c.handle()
	defer h.Close()
	l, err = h.LinkByName(name)
	e.c.r.ok(err)
	all, err := h.LinkList()
	e.c.r.ok(err)
	name = fmt.Sprintf("%s%d", prefix, len(all)-2)
	e.c.r.ok(h.LinkSetName(l, name))
	mac, err := net.ParseMAC(e.mac)
	e.c.r.ok(err)
	e.c.r.ok(h.LinkSetHardwareAddr(l, mac))
	for _, text := range e.addresses {
		a, err := netlink.ParseAddr(text)
		e.c.r.ok(err)
		if a.IP.To4() == nil {
			a.Flags = 2 // IFA_F_NODAD
		}
		e.c.r.ok(h.AddrAdd(l, a))
	}
	e.c.r.ok(h.LinkSetUp(l))
}

// disconnect takes the container off the network, as at its end or before.
func (e *endpoint) disconnect(gateway bool) {
	e.c.r.t.Helper()
	if gateway {
		e.c.r.done("NetworkDriver.RevokeExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...)
	}
	e.c.r.done("NetworkDriver.Leave", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...)
	e.c.r.done("NetworkDriver.DeleteEndpoint", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...)
}

// ports are what is published for the endpoint.
func (e *endpoint) ports() []cnm.Port {
	e.c.r.t.Helper()
	at, err := e.c.r.LookupAttachment(cnm.EndpointID(e.id[:32]))
	e.c.r.ok(err)
	return at.Join.Result.Ports
}

// network makes one with Docker's own address manager. options is the rest of the option object.
func (r *rig) network(options string, subnets ...string) string {
	r.t.Helper()
	nid := id()
	r.done("NetworkDriver.CreateNetwork", networkBody(nid, options, subnets...))
	return nid
}

// networkBody is the CreateNetwork of a network with the gateway .1 in each subnet.
func networkBody(nid, options string, subnets ...string) string {
	data := [2]string{}
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		at := 0
		if p.Addr().Is6() {
			at = 1
		}
		if data[at] != "" {
			data[at] += ","
		}
		data[at] += fmt.Sprintf(`{"AddressSpace":"LocalDefault","Gateway":"%s/%d","Pool":"%s"}`, p.Addr().Next(), p.Bits(), p)
	}
	if options == "" {
		options = `"com.docker.network.generic":{}`
	}
	return fmt.Sprintf(`{"NetworkID":"%s","Options":{"com.docker.network.enable_ipv6":%t,%s},"IPv4Data":[%s],"IPv6Data":[%s]}`, nid, data[1] != "", options, data[0], data[1])
}

// expand replaces words, in pairs.
func expand(s string, words []string) string { return strings.NewReplacer(words...).Replace(s) }

// in does something in the container's namespace.
func (c *container) in(do func() error) error {
	c.r.t.Helper()
	ns, err := netns.Open(c.key)
	c.r.ok(err)
	defer ns.Close()
	return ns.Do(do)
}

// serve answers connections in the container with its key, at all its addresses.
func (c *container) serve(port string) {
	c.r.t.Helper()
	var lc net.ListenConfig
	var ln net.Listener
	c.r.ok(c.in(func() (err error) {
		ln, err = lc.Listen(c.r.t.Context(), "tcp", ":"+port)
		return err
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(c.key))
			conn.Close()
		}
	}()
	c.stop = append(c.stop, func() { ln.Close(); <-done })
}

// dial asks a server who it is; "" if nobody answers. One that must answer is asked again and again: IPv6 takes a moment in an
// interface that was moved.
func dial(ctx context.Context, address string, must bool) string {
	wait := silence
	if must {
		wait = patience
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if text := dialOnce(ctx, address); text != "" || !must {
			return text
		}
		select {
		case <-ctx.Done():
			return ""
		case <-again.C:
		}
	}
}

func dialOnce(ctx context.Context, address string) string {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	text, _ := io.ReadAll(conn)
	return string(text)
}

const silence = 300 * time.Millisecond

// keyOf is what a container's servers answer; "" for nobody.
func keyOf(c *container) string {
	if c == nil {
		return ""
	}
	return c.key
}

// asks wants the server at an address, from within the container, to be who; nobody if nil.
func (c *container) asks(address string, who *container) {
	c.r.t.Helper()
	got := ""
	c.r.ok(c.in(func() error { got = dial(c.r.t.Context(), address, who != nil); return nil }))
	if got != keyOf(who) {
		c.r.t.Errorf("%s asked %s and was answered by %q, want %q", c.key, address, got, keyOf(who))
	}
}

// asks is the same from the host.
func (r *rig) asks(address string, who *container) {
	r.t.Helper()
	if got := dial(r.t.Context(), address, who != nil); got != keyOf(who) {
		r.t.Errorf("the host asked %s and was answered by %q, want %q", address, got, keyOf(who))
	}
}

// unroute takes the default routes away, which Docker does before it sets others.
func (e *endpoint) unroute() {
	e.c.r.t.Helper()
	h := e.c.handle()
	defer h.Close()
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := h.RouteListFiltered(family, &netlink.Route{Table: 254}, netlink.RT_FILTER_TABLE)
		e.c.r.ok(err)
		for _, route := range routes {
			if route.Gw != nil {
				e.c.r.ok(h.RouteDel(&route))
			}
		}
	}
}

// makeLink makes a link in the namespace, as a process of the container may.
func (c *container) makeLink(name string) {
	c.r.t.Helper()
	h := c.handle()
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	c.r.ok(h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
}
