// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// Keys of the values that Docker itself adds.
const (
	keyGeneric    = "com.docker.network.generic"
	keyEnableIPv4 = "com.docker.network.enable_ipv4"
	keyEnableIPv6 = "com.docker.network.enable_ipv6"
	keyInternal   = "com.docker.network.internal"
	keyPortMap    = "com.docker.network.portmap"
	keyExposed    = "com.docker.network.endpoint.exposedports"
	keyMAC        = "com.docker.network.endpoint.macaddress"
	keyDNSServers = "com.docker.network.endpoint.dnsservers"
	keyNoProxy    = "com.docker.network.driver.private.no_proxy_6to4"
)

// Keys of its users' options.
const (
	keyIfname      = "com.docker.network.endpoint.ifname"
	keySysctls     = "com.docker.network.endpoint.sysctls"
	keyIfacePrefix = "com.docker.network.container_iface_prefix"
)

// get reads the value of a key, if there is one.
func (o options) get(key string, into any) error {
	raw, ok := o[key]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return cnm.FieldErrorf(cnm.Invalid, key, "option %s has a value that is not what the protocol says: %w", key, err)
	}
	return nil
}

// only refuses keys that are not known.
func (o options) only(known ...string) error {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(known, k) {
			return cnm.FieldErrorf(cnm.Invalid, "opt", "option %.80q is unknown", k)
		}
	}
	return nil
}

// decodeNetworkOptions adds what Docker and its user said of a network.
func decodeNetworkOptions(o options, spec *cnm.NetworkSpec) error {
	if err := o.only(keyGeneric, keyEnableIPv4, keyEnableIPv6, keyInternal); err != nil {
		return err
	}
	var users map[string]string
	for key, into := range map[string]any{keyGeneric: &users, keyEnableIPv4: &spec.IPv4, keyEnableIPv6: &spec.IPv6, keyInternal: &spec.Internal} {
		if err := o.get(key, into); err != nil {
			return err
		}
	}
	d := networkOptions{spec: spec, given: users, own: map[string]string{}, modes: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(users)) {
		if err := d.option(key, users[key]); err != nil {
			return err
		}
	}
	if err := d.gatewayModes(); err != nil {
		return err
	}
	if len(d.own) > 0 {
		spec.Options = d.own
	}
	return nil
}

// networkOptions translates the options of one network.
type networkOptions struct {
	spec  *cnm.NetworkSpec
	given map[string]string
	own   map[string]string // the driver's
	modes map[string]string // gateway modes by family
}

// set gives the driver an option, which may be there in our words or in Docker's.
func (d *networkOptions) set(from, key, value string) error {
	if old, ok := d.own[key]; ok && old != value {
		return cnm.FieldErrorf(cnm.Invalid, "opt", "option %s is %s, and another option says %q; leave one of them out", from, strconv.Quote(value), old)
	}
	d.own[key] = value
	return nil
}

// option translates one option. What is none of Docker's is for the driver, which names it if it does not know it either.
func (d *networkOptions) option(key, value string) error {
	const bridge = "com.docker.network.bridge."
	switch key {
	case bridge + "name":
		return d.set(key, "bridge", value)
	case bridge + "enable_ip_masquerade":
		return d.set(key, "masquerade", value)
	case bridge + "enable_icc", "isolate-endpoints":
		on, err := boolean(key, value)
		d.spec.IsolateEndpoints = on == (key == "isolate-endpoints")
		return err
	case bridge + "host_binding_ipv4":
		return d.set(key, "publish-address", value)
	case bridge + "gateway_mode_ipv4", bridge + "gateway_mode_ipv6":
		d.modes[key] = value
		return nil
	case bridge + "trusted_host_interfaces":
		return d.set(key, "trusted-interfaces", strings.ReplaceAll(value, ":", ","))
	case "com.docker.network.host_ipv4", "com.docker.network.host_ipv6":
		if before := d.own["snat"]; before != "" {
			value = before + "," + value
		}
		d.own["snat"] = value
		return nil
	case "com.docker.network.driver.mtu", "mtu":
		mtu, err := strconv.Atoi(value)
		if err != nil || mtu <= 0 {
			return cnm.FieldErrorf(cnm.Invalid, "opt", "option %s: %.80q is no number of bytes", key, value)
		}
		d.spec.MTU = mtu
		return nil
	case keyIfacePrefix:
		if err := checkPrefix(value); err != nil {
			return err
		}
		d.spec.Labels[keyIfacePrefix] = value
		return nil
	case keyEnableIPv4, keyEnableIPv6:
		return d.family(key, value)
	case bridge + "inhibit_ipv4", bridge + "default_bridge":
		if on, err := boolean(key, value); err != nil || !on {
			return err
		}
		return cnm.FieldErrorf(cnm.Unsupported, "opt", "option %s is not supported; for a bridge of your own use option adopt", key)
	default:
		d.own[key] = value
		return nil
	}
}

// gatewayModes are one for both families.
func (d *networkOptions) gatewayModes() error {
	if len(d.modes) == 0 {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(d.modes)) {
		mode := d.modes[key]
		if mode != "nat" && mode != "routed" {
			return cnm.FieldErrorf(cnm.Unsupported, "opt", "option %s: mode %.80q is not supported; use nat or routed", key, mode)
		}
		if err := d.set(key, "gateway-mode", mode); err != nil {
			return err
		}
	}
	return nil
}

// family is a switch that Docker obeys itself, and tells elsewhere.
func (d *networkOptions) family(key, value string) error {
	on, err := boolean(key, value)
	if err != nil {
		return err
	}
	told := d.spec.IPv4
	if key == keyEnableIPv6 {
		told = d.spec.IPv6
	}
	if told != nil && *told != on {
		return cnm.FieldErrorf(cnm.Invalid, "opt", "option %s is %t, and Docker was told otherwise; leave one of them out", key, on)
	}
	return nil
}

func boolean(key, value string) (bool, error) {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, cnm.FieldErrorf(cnm.Invalid, "opt", "option %s: %.80q is not true or false", key, value)
	}
	return on, nil
}

// checkPrefix leaves room for a number after the prefix of an interface's name.
func checkPrefix(s string) error {
	const most = 11
	bad := s == "" || len(s) > most
	for i := range len(s) {
		bad = bad || s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte("/:%", s[i]) >= 0
	}
	if bad {
		return cnm.FieldErrorf(cnm.Invalid, "opt", "option %s: %.80q cannot begin an interface's name; use up to %d letters", keyIfacePrefix, s, most)
	}
	return nil
}

// decodeEndpointOptions adds what Docker and its user said of an endpoint. Docker does not repeat the users' options when the
// endpoint joins: those are kept as labels.
func decodeEndpointOptions(o options, spec *cnm.EndpointSpec) error {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if slices.Contains([]string{keyPortMap, keyExposed, keyMAC, keyDNSServers}, key) {
			continue
		}
		var value string
		if err := o.get(key, &value); err != nil {
			return cnm.FieldErrorf(cnm.Invalid, "opt", "option %.80q is unknown, and its value is no text", key)
		}
		switch key {
		case keyIfname, keySysctls:
			spec.Labels[key] = value
		default:
			if spec.Options == nil {
				spec.Options = map[string]string{}
			}
			spec.Options[key] = value
		}
	}
	if _, err := sysctls(spec.Labels[keySysctls]); err != nil {
		return err
	}
	_, err := bindings(o)
	return err
}

// sysctls reads Docker's list "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2".
func sysctls(list string) (map[string]string, error) {
	if list == "" {
		return nil, nil
	}
	all := map[string]string{}
	for kv := range strings.SplitSeq(list, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(kv), "=")
		key = strings.Replace(key, ".ifname.", ".IFNAME.", 1) // docker run writes what it is given in small letters
		if !ok || !strings.Contains(key, ".IFNAME.") {
			return nil, cnm.FieldErrorf(cnm.Invalid, "sysctl", "option %s: %.80q is not net.FAMILY.conf.IFNAME.KEY=VALUE, with IFNAME as it stands here", keySysctls, kv)
		}
		all[key] = value
	}
	return all, nil
}
