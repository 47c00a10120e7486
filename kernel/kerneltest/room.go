// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

// room lists what is in the process's network namespace and, where it is the first of a process namespace, who else is alive: one
// line a thing, without what the kernel makes and forgets by itself.
func room() ([]string, error) {
	var all []string
	for _, look := range []func() ([]string, error){links, tables, sockets, processes} {
		lines, err := look()
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	return all, nil
}

// links lists links with all that hangs on them. Ids of other namespaces are left out: one that nobody holds any more, by a
// process, a descriptor or a mount, lives on while a connection in it that its program has closed waits for the last answer.
func links() ([]string, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx := context.Background()
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	names := map[int]string{}
	all, err1 := conn.Links(ctx, link.LinkFilter{})
	for _, l := range all {
		names[l.Index] = l.Name
		say("link %s, %q, up %t", l.Name, l.Kind, l.Up())
	}
	addresses, err2 := conn.Addresses(ctx, 0)
	for _, a := range addresses {
		say("address %s on %s", a.Prefix, names[a.Link])
	}
	routes, err3 := conn.Routes(ctx, 0)
	for _, r := range routes {
		say("route to %s on %s, table %d", r.Dst, names[r.Link], r.Table)
	}
	rules, err4 := conn.Rules(ctx)
	for _, r := range rules {
		say("%s rule %d from %s to table %d", r.Family, r.Priority, r.From, r.Table)
	}
	neighbours, err5 := conn.Neighbours(ctx, 0)
	for _, n := range neighbours {
		if n.Proxy || n.State&link.Permanent != 0 {
			say("neighbour %s on %s", n.Addr, names[n.Link])
		}
	}
	entries, err6 := conn.FDB(ctx, 0)
	for _, e := range entries {
		say("forwarding entry %s on %s", e.MAC, names[e.Link])
	}
	return lines, errors.Join(err1, err2, err3, err4, err5, err6)
}

// tables lists the tables of nftables.
func tables() ([]string, error) {
	all, err := listTables()
	var lines []string
	for _, t := range all {
		lines = append(lines, fmt.Sprintf("table %s %s", family(t.Family), t.Name))
	}
	return lines, err
}

// family names a family of tables as nft does.
func family(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyBridge:
		return "bridge"
	case nftables.TableFamilyARP:
		return "arp"
	case nftables.TableFamilyNetdev:
		return "netdev"
	case nftables.TableFamilyUnspecified:
	}
	return fmt.Sprintf("of family %d", f)
}

// sockets lists those that wait for somebody: they listen, or take datagrams or frames.
func sockets() ([]string, error) {
	var lines []string
	for _, table := range []struct{ file, state string }{
		{"tcp", "0A"}, {"tcp6", "0A"}, {"udp", "07"}, {"udp6", "07"}, {"raw", "07"}, {"raw6", "07"}, {"packet", ""},
	} {
		f, err := os.Open("/proc/thread-self/net/" + table.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without the family
		}
		if err != nil {
			return nil, err
		}
		rows := bufio.NewScanner(f)
		for first := true; rows.Scan(); first = false {
			fields := strings.Fields(rows.Text())
			switch {
			case first: // the heading
			case table.state == "":
				lines = append(lines, "packet socket")
			case len(fields) > 3 && fields[3] == table.state:
				lines = append(lines, table.file+" socket on "+endpoint(fields[1]))
			}
		}
		if err := errors.Join(rows.Err(), f.Close()); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// endpoint makes ADDRESS:PORT, in hexadecimal with the address in words of the machine's byte order, what people write.
func endpoint(text string) string {
	a, p, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(a)
	port, err2 := strconv.ParseUint(p, 16, 16)
	for i := 0; i+4 <= len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	addr, ok := netip.AddrFromSlice(words)
	if err != nil || err2 != nil || !ok {
		return text
	}
	return netip.AddrPortFrom(addr, uint16(port)).String()
}

// alone tells whether this process is the first of a process namespace, so that all others in it are the test's.
func alone() bool { return os.Getpid() == 1 }

// processes lists the others of the process namespace that is this process's own.
func processes() ([]string, error) {
	if !alone() {
		return nil, nil
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == 1 {
			continue
		}
		b, err := os.ReadFile(dir + "/stat")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, err
		}
		name, rest, _ := strings.Cut(string(b), ") ")
		if !strings.HasPrefix(rest, "Z") {
			lines = append(lines, "process "+name+")")
		}
	}
	return lines, nil
}
