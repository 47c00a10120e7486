// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

const beRoot = "be root, or give the container CAP_NET_ADMIN and CAP_SYS_ADMIN"

func (d *examination) kernel(context.Context) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		d.fail("kernel", "", "its version: %v", err)
		return
	}
	release := unix.ByteSliceToString(name.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		d.note("kernel", "", "version %q is not understood; 5.15 or later is needed", release)
		return
	}
	if major < 5 || major == 5 && minor < 15 {
		d.fail("kernel", "use Linux 5.15 or later", "Linux %s is too old", release)
		return
	}
	d.ok("kernel", "Linux %s", release)
}

// features tries what we need where it disturbs nobody.
func (d *examination) features(ctx context.Context) {
	ns, err := netns.New()
	if err != nil {
		fix := "load or build a kernel with CONFIG_NET_NS"
		if errors.Is(err, unix.EPERM) {
			fix = beRoot
		}
		d.fail("namespaces", fix, "%v", err)
		return
	}
	defer ns.Close()
	d.ok("namespaces", "can be made")
	if err := d.links(ns); err != nil {
		d.fail("links", "load the kernel modules bridge and veth", "%v", err)
	} else {
		d.ok("links", "bridge and veth can be made")
	}
	var features nft.Features
	err = ns.Do(func() error {
		conn, err := nft.Dial(nft.Config{})
		if err != nil {
			return err
		}
		features, err = conn.Features(ctx)
		return errors.Join(err, conn.Close())
	})
	switch {
	case err != nil:
		d.fail("nftables", "load the kernel module nf_tables", "%v", err)
	case !features.OwnerPersist:
		d.note("nftables", "Linux 6.9 or later has them", "no tables that are ours alone: what others change in ours is put back when they did it")
	default:
		d.ok("nftables", "tables can be ours alone and outlive us")
	}
}

func (d *examination) links(ns *netns.NS) error {
	conn, err := link.Dial(ns.Fd())
	if err != nil {
		return err
	}
	defer conn.Close()
	var b link.Batch
	b.CreateBridge(link.Bridge{Name: "bridge"})
	b.CreateVeth(link.Veth{Name: "one", Peer: link.Peer{Name: "other", Namespace: link.Here}})
	return conn.Do(&b)
}

// settings looks at those that decide whether packets are forwarded.
func (d *examination) settings(context.Context) {
	for _, family := range []string{"ipv4", "ipv6"} {
		key := "net/" + family + "/conf/all/forwarding"
		path := "/proc/sys/" + key
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			err = f.Close()
		}
		switch {
		case errors.Is(err, unix.ENOENT) && family == "ipv6":
			d.note("settings", "make networks with --ipv6=false, or start the kernel without ipv6.disable=1", "the kernel has no IPv6")
		case err != nil:
			d.fail("settings", "be root, with /proc/sys mounted for writing", "%v", err)
		default:
			d.ok("settings", "forwarding of %s can be switched on", strings.Replace(family, "ipv", "IPv", 1))
		}
	}
	for _, key := range []string{"iptables", "ip6tables"} {
		if v, err := sysctl.Read("net/bridge/bridge-nf-call-" + key); err == nil && v == "1" {
			d.note("settings", "if nothing needs it: sysctl net.bridge.bridge-nf-call-"+key+"=0", "bridged packets pass the host's %s, which may drop them", key)
		}
	}
}
