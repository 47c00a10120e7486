// SPDX-License-Identifier: Apache-2.0

package audit

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
)

// socket is one that waits on a port of the host: it listens, or takes datagrams from anybody.
type socket struct {
	proto string // tcp, udp or sctp
	at    netip.AddrPort
	inode string
}

// String is "tcp socket on 0.0.0.0:80".
func (s socket) String() string { return s.proto + " socket on " + s.at.String() }

// waiting reads all sockets of the host that wait on ports, whoever has them.
func waiting() ([]socket, error) {
	var all []socket
	for _, table := range []struct{ file, proto, state string }{
		{"tcp", "tcp", "0A"}, {"tcp6", "tcp", "0A"}, {"udp", "udp", "07"}, {"udp6", "udp", "07"},
	} {
		some, err := readSockets(table.file, table.proto, table.state)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// readSockets reads one of the tables in /proc/net: number, local address, remote address, state, ... and the inode tenth.
func readSockets(file, proto, state string) ([]socket, error) {
	f, err := os.Open("/proc/thread-self/net/" + file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without the family
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []socket
	rows := bufio.NewScanner(f)
	for rows.Scan() {
		fields := strings.Fields(rows.Text())
		if len(fields) < 10 || fields[3] != state {
			continue // the heading, or one that is connected
		}
		at, err := parseSocketAddress(fields[1])
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", file, err)
		}
		all = append(all, socket{proto: proto, at: at, inode: fields[9]})
	}
	return all, rows.Err()
}

// parseSocketAddress reads ADDRESS:PORT in hexadecimal, the address in words of the machine's byte order.
func parseSocketAddress(s string) (netip.AddrPort, error) {
	a, p, _ := strings.Cut(s, ":")
	words, err := hex.DecodeString(a)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(p, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for i := 0; i+4 <= len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	addr, ok := netip.AddrFromSlice(words)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q has %d bytes", s, len(words))
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// socketLines are the sockets that wait.
func socketLines(context.Context, host, Scope) ([]string, error) {
	all, err := waiting()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, s := range all {
		lines = append(lines, s.String())
	}
	return lines, nil
}

// heldBy tells of which sockets, by inode, a process has a descriptor.
func heldBy(pid int) (map[string]bool, error) {
	dir := "/proc/self/fd"
	if pid > 0 {
		dir = fmt.Sprintf("/proc/%d/fd", pid)
	}
	paths, err := filepath.Glob(dir + "/*")
	if err != nil {
		return nil, err
	}
	held := map[string]bool{}
	for _, path := range paths {
		target, err := os.Readlink(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			held[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return held, nil
}

// Process tells what a process has that could hold on to a network: its descriptors by kind with their number, and its
// threads in another namespace than the host's. 0 is this process. While the process works, things come and go in it.
func Process(pid int) ([]string, error) {
	root := "/proc/self"
	if pid > 0 {
		root = fmt.Sprintf("/proc/%d", pid)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	kinds := map[string]int{}
	err = eachTarget(root+"/fd/*", func(target string) {
		kind, _, _ := strings.Cut(target, ":[")
		kinds[kind]++
	})
	if err != nil {
		return nil, err
	}
	var lines []string
	for kind, n := range kinds {
		lines = append(lines, fmt.Sprintf("descriptors of %s: %d", kind, n))
	}
	err = eachTarget(root+"/task/*/ns/net", func(target string) {
		if target != own {
			lines = append(lines, "thread in "+target)
		}
	})
	return lines, err
}

// eachTarget follows the links that match a pattern. What vanishes meanwhile is passed over.
func eachTarget(pattern string, fn func(target string)) error {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, path := range paths {
		target, err := os.Readlink(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		fn(target)
	}
	return nil
}
