// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/test/interop/place"
)

// stack is where a socket is opened.
type stack interface {
	Do(fn func() error) error
}

// within is the stack of a container.
type within struct {
	k   *docked
	pid int
}

func (w within) Do(fn func() error) error { return w.k.p.In(w.pid, fn) }

// within is the stack of a running container.
func (k *docked) within(name string) stack {
	k.Helper()
	pid, err := strconv.Atoi(k.d.Run("inspect", "--format", "{{.State.Pid}}", name))
	if err != nil || pid == 0 {
		k.Fatalf("container %s has the process %d (%v)", name, pid, err)
	}
	return within{k, pid}
}

// echo serves in a container, and answers what it is asked with a word, or who has asked where there is none. The end closes it.
func (k *docked) echo(name, network, address, word string) (end func()) {
	k.Helper()
	return k.echoAt(k.within(name), network, address, word)
}

func (k *docked) echoAt(where stack, network, address, word string) (end func()) {
	k.Helper()
	var served []io.Closer
	err := where.Do(func() error {
		if network == "udp" {
			c, err := net.ListenPacket("udp", address)
			if err == nil {
				served = append(served, c)
				go answerDatagrams(c, word)
			}
			return err
		}
		ln, err := net.Listen("tcp", address)
		if err == nil {
			served = append(served, ln)
			go answerStreams(ln, word)
		}
		return err
	})
	if err != nil {
		k.Fatalf("serve %s/%s: %v", address, network, err)
	}
	return func() {
		for _, c := range served {
			c.Close()
		}
	}
}

func answerDatagrams(c net.PacketConn, word string) {
	buf := make([]byte, 64)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteTo([]byte(wordOr(word, from)), from)
	}
}

// wordOr is a word, or the address of who asks where there is none.
func wordOr(word string, from net.Addr) string {
	if word != "" {
		return word
	}
	a, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return err.Error()
	}
	return a.Addr().Unmap().String()
}

func answerStreams(ln net.Listener, word string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, wordOr(word, c.RemoteAddr()))
		c.Close()
	}
}

// Times that a packet is waited for: one that is to come, and one that is not.
const (
	answerTime  = 10 * time.Second
	silenceTime = time.Second
)

// ask asks an echo once, and gives what it answers.
func ask(from stack, network, address string, within time.Duration) (string, error) {
	var c net.Conn
	err := from.Do(func() error {
		d := net.Dialer{Timeout: within}
		var err error
		c, err = d.Dial(network, address)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if network == "udp" {
		done := make(chan struct{})
		defer close(done)
		go askAgain(c, done)
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	return string(buf[:n]), err
}

// askAgain sends a datagram now and then, as whoever uses them has to.
func askAgain(c net.Conn, done <-chan struct{}) {
	again := time.NewTicker(silenceTime / 4)
	defer again.Stop()
	for {
		_, _ = io.WriteString(c, "who is there")
		select {
		case <-again.C:
		case <-done:
			return
		}
	}
}

// answers fails the test unless an echo of that word is reached at each of the addresses.
func (k *docked) answers(from stack, network, word string, addresses ...string) {
	k.Helper()
	for _, a := range addresses {
		if got, err := ask(from, network, a, answerTime); got != word {
			k.Errorf("%s/%s answers %q (%v), want %q", a, network, got, err, word)
		}
	}
}

// closed fails the test if one of the addresses answers. They are asked together, as each is waited for.
func (k *docked) closed(from stack, network string, addresses ...string) {
	k.Helper()
	var all sync.WaitGroup
	for _, a := range addresses {
		all.Go(func() {
			if got, err := ask(from, network, a, silenceTime); err == nil {
				k.Errorf("%s/%s answers %q, and is to be closed", a, network, got)
			}
		})
	}
	all.Wait()
}

// at are a port's addresses on hosts.
func at(port string, hosts ...string) []string {
	var all []string
	for _, h := range hosts {
		all = append(all, net.JoinHostPort(h, port))
	}
	return all
}

// lan are the host's addresses on its LAN.
func lan() []string { return []string{place.Host4, place.Host6} }

// local are those of its loopback.
func local() []string { return []string{"127.0.0.1", "::1"} }

// ports are a container's published ports by the container's port, "0.0.0.0:8080" for "80/tcp".
func (k *docked) ports(name string) map[string][]netip.AddrPort {
	k.Helper()
	key := k.d.Run("inspect", "--format", "{{.NetworkSettings.SandboxID}}", name)
	var all []struct {
		Proto    string
		HostIP   netip.Addr `json:"host_ip"`
		HostPort uint16     `json:"host_port"`
		Port     uint16
	}
	k.c.Read(&all, "port", "docker-"+key[:12])
	by := map[string][]netip.AddrPort{}
	for _, p := range all {
		inside := fmt.Sprintf("%d/%s", p.Port, p.Proto)
		by[inside] = append(by[inside], netip.AddrPortFrom(p.HostIP, p.HostPort))
	}
	return by
}

// route leads the LAN's neighbour to prefixes by the host.
func (k *docked) route(prefixes ...string) {
	k.Helper()
	var b link.Batch
	for _, p := range prefixes {
		r := link.Route{Dst: netip.MustParsePrefix(p), Gateway: netip.MustParseAddr(place.Host4)}
		if r.Dst.Addr().Is6() {
			r.Gateway = netip.MustParseAddr(place.Host6)
		}
		b.AddRoute(r)
	}
	err := k.p.Neighbour.Do(func() error {
		conn, err := link.Dial(link.Here)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Do(&b)
	})
	if err != nil {
		k.Fatal(err)
	}
}

// routes are those of a container's main table.
func (k *docked) routes(name string) (all []link.Route) {
	k.Helper()
	err := k.within(name).Do(func() error {
		conn, err := link.Dial(link.Here)
		if err != nil {
			return err
		}
		defer conn.Close()
		all, err = conn.Routes(k.Context(), link.TableMain)
		return err
	})
	if err != nil {
		k.Fatal(err)
	}
	return all
}

// inside runs a shell's command in a container.
func (k *docked) inside(name, command string) string {
	k.Helper()
	return k.d.Run("exec", name, "sh", "-c", command)
}

// refused fails the test unless docker refuses a command, and says each of the texts.
func (k *docked) refused(texts []string, args ...string) {
	k.Helper()
	r := k.d.Try(args...)
	for _, text := range texts {
		if r.Status == 0 || !strings.Contains(r.Err, text) {
			k.Errorf("docker %s: status %d, %q, want an error with %q", strings.Join(args, " "), r.Status, r.Out+r.Err, text)
		}
	}
}
