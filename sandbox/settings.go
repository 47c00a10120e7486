// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// processSettings are what users of containers expect in a namespace: ping sockets and low ports open to everybody inside. groups
// is the range of groups that may ping.
//
// They are not written when the namespace is made: the kernel looks a setting's file up among those of all namespaces, which
// takes 0.1 ms in the first and 1 ms in the thousandth.
func processSettings(groups string) []sysctl.Setting {
	return []sysctl.Setting{
		{Key: "net/ipv4/ping_group_range", Value: groups},
		{Key: "net/ipv4/ip_unprivileged_port_start", Value: "0"},
	}
}

// pingGroups is the widest range of groups that the kernel takes, given the text of
// gid_map (user_namespaces(7)): all of them, or those from 0 on that the user
// namespace knows.
func pingGroups(gidMap string) string {
	const most = 1<<31 - 1
	for row := range strings.Lines(gidMap) {
		var inside, outside, count uint64
		if n, err := fmt.Sscan(row, &inside, &outside, &count); err == nil && n == 3 && inside == 0 && count > 0 {
			return "0 " + strconv.FormatUint(min(count-1, most), 10)
		}
	}
	return "0 " + strconv.Itoa(most)
}

// write applies settings in the namespace of the calling thread. IPv6's are passed
// over where the kernel has no IPv6.
func write(settings []sysctl.Setting) error {
	var errs []error
	for _, s := range settings {
		err := sysctl.Write(s.Key, s.Value)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.Key, "net/ipv6/") && !hasIPv6() {
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hasIPv6 tells whether the kernel has IPv6, and not only a link without it.
func hasIPv6() bool {
	_, err := sysctl.Read("net/ipv6/conf/all/disable_ipv6")
	return err == nil
}

// noRouters stops a link from listening to routers, which it would do by the kernel's
// default.
func noRouters(name string) sysctl.Setting {
	return sysctl.Setting{Key: "net/ipv6/conf/" + name + "/accept_ra", Value: "0"}
}

// ipv6On is for a link whose namespace begins with IPv6 off.
func ipv6On(name string) sysctl.Setting {
	return sysctl.Setting{Key: "net/ipv6/conf/" + name + "/disable_ipv6", Value: "0"}
}

// ipv6Off switches IPv6 off on an interface: no address, no router solicitation,
// no multicast report.
func ipv6Off(name string) sysctl.Setting {
	return sysctl.Setting{Key: "net/ipv6/conf/" + name + "/disable_ipv6", Value: "1"}
}

// placeholder stands for the interface in the keys of a join's sysctls.
const placeholder = "IFNAME"

// settingsOf turns a join's sysctls into settings of the interface called name, in
// the order of their keys. A key is net.FAMILY.conf.IFNAME.KEY or
// net.FAMILY.neigh.IFNAME.KEY: nothing else in the namespace is the endpoint's.
func settingsOf(sysctls map[string]string, name string) ([]sysctl.Setting, error) {
	var all []sysctl.Setting
	for key, value := range sysctls {
		if err := checkSysctl(key, value); err != nil {
			return nil, err
		}
		slashed := strings.ReplaceAll(key, ".", "/")
		all = append(all, sysctl.Setting{Key: strings.Replace(slashed, placeholder, name, 1), Value: value})
	}
	slices.SortFunc(all, func(a, b sysctl.Setting) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

func checkSysctl(key, value string) error {
	parts := strings.Split(key, ".")
	ok := len(parts) == 5 && parts[0] == "net" && (parts[1] == "ipv4" || parts[1] == "ipv6" || parts[1] == "mpls") &&
		(parts[2] == "conf" || parts[2] == "neigh") && parts[3] == placeholder && isKey(parts[4])
	if !ok {
		return cnm.FieldErrorf(cnm.Invalid, "sysctl",
			"sysctl %q is not one of an endpoint's interface; write net.ipv4.conf.IFNAME.KEY or net.ipv6.neigh.IFNAME.KEY, with IFNAME as it stands", key)
	}
	const most = 64
	printable := !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' })
	if value == "" || len(value) > most || !printable {
		return cnm.FieldErrorf(cnm.Invalid, "sysctl", "sysctl %s has value %q; give 1 to %d printable characters", key, value, most)
	}
	return nil
}

// isKey tells whether s may be the last part of a key.
func isKey(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_'
	})
}
