// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// programRows are about the binary and the daemon.
func programRows() []row {
	return []row{
		{
			Name: "static", Shows: "cnm is one static binary",
			Breaks: "the binary is a copy that asks for a dynamic loader",
			Setup:  steps(), Broken: dynamicCopy, Check: checkStatic,
		},
		{
			Name: "daemon", Shows: "the daemon answers, with its embedded store in its own directories",
			Breaks: "the daemon is not started",
			Setup:  startDaemon, Broken: steps(), Check: checkDaemon,
		},
		{
			Name: "two-networks", Shows: "two networks, each with an IPv4 and an IPv6 subnet of its own",
			Breaks: "the second network is not made",
			Setup:  steps(makeNetwork("red"), makeNetwork("blue")), Broken: makeNetwork("red"), Check: checkTwoNetworks,
		},
	}
}

func startDaemon(ctx context.Context, w *world) error { return w.start(ctx) }

// checkStatic wants a program that needs no loader and no library.
func checkStatic(_ context.Context, w *world) error {
	f, err := elf.Open(w.cnm)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s asks for a dynamic loader", w.cnm)
		}
	}
	libs, err := f.ImportedLibraries()
	if err == nil && len(libs) > 0 {
		err = fmt.Errorf("%s needs the libraries %v", w.cnm, libs)
	}
	return err
}

// dynamicCopy has w use a copy whose first program header names a loader.
func dynamicCopy(_ context.Context, w *world) error {
	b, err := os.ReadFile(w.cnm)
	if err != nil {
		return err
	}
	f, err := elf.Open(w.cnm)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Class != elf.ELFCLASS64 {
		return errors.New("the binary is not one of 64 bits")
	}
	headers := f.ByteOrder.Uint64(b[32:]) // e_phoff
	f.ByteOrder.PutUint32(b[headers:], uint32(elf.PT_INTERP))
	w.cnm = w.path("dynamic")
	return os.WriteFile(w.cnm, b, 0o600)
}

// checkDaemon wants an answer and a store.
func checkDaemon(ctx context.Context, w *world) error {
	if _, err := w.run(ctx, "network", "ls"); err != nil {
		return err
	}
	for _, dir := range []string{"state", "run"} {
		stored := 0
		err := filepath.WalkDir(w.path(dir), func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				stored++
			}
			return err
		})
		if err != nil {
			return err
		}
		if stored == 0 {
			return fmt.Errorf("the daemon keeps nothing in its %s directory", dir)
		}
	}
	return nil
}

// checkTwoNetworks wants both in the list, with subnets that do not overlap.
func checkTwoNetworks(ctx context.Context, w *world) error {
	var all []network
	if err := w.read(ctx, &all, "network", "ls", "--json"); err != nil {
		return err
	}
	found := map[string]*network{}
	for i := range all {
		found[all[i].Name] = &all[i]
	}
	red, blue := found["red"], found["blue"]
	if red == nil || blue == nil {
		return fmt.Errorf("the list shows %d networks, and not both of red and blue", len(all))
	}
	for _, n := range []*network{red, blue} {
		for _, f := range families() {
			if !n.gateway(f).IsValid() {
				return fmt.Errorf("network %s has no %s subnet with a gateway", n.Name, f)
			}
		}
	}
	for _, r := range red.Subnets {
		for _, b := range blue.Subnets {
			if r.Prefix.Overlaps(b.Prefix) {
				return fmt.Errorf("subnet %s of red overlaps %s of blue", r.Prefix, b.Prefix)
			}
		}
	}
	return nil
}
