// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// checkInterface refuses what Linux or its sysctl tree takes for something else.
func checkInterface(s string) error {
	bad := len(s) > 15 || s == "." || s == ".." || s == "lo" || s == "all" || s == "default"
	for i := 0; i < len(s) && !bad; i++ {
		bad = s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte("/:%", s[i]) >= 0
	}
	if bad {
		return cnm.FieldErrorf(cnm.Invalid, "interface", "interface %q cannot be a name; use up to 15 letters and digits, not lo, all or default", s)
	}
	return nil
}

// freeInterface is the first of eth0, eth1, ... that is not in use.
func freeInterface(used map[string]string) string {
	for i := 0; ; i++ {
		if name := "eth" + itoa(i); used[name] == "" {
			return name
		}
	}
}

// foreignLinks is how many names of our choice may be taken by links that are not ours, as runtimes and people make in namespaces
// of theirs.
const foreignLinks = 64

// link has the driver make the link. A name of our choice that a link of somebody else's has is passed over for the next one; what was
// begun under it is undone first, since a driver that joins again finds the same endpoint half made.
func (c *Controller) link(ctx context.Context, ns cnm.OpenNamespace, e entry) (cnm.Join, error) {
	at, used := e.at, map[string]string{}
	others := c.table.others(at)
	for _, o := range others {
		used[o.Join.Interface] = o.Network.Name
	}
	for tries := 0; ; tries++ {
		var err error
		at.Join.Result, err = e.driver.Join(ctx, cnm.JoinRequest{Attachment: at, NamespaceFD: ns.FD()})
		if !e.unnamed || tries == foreignLinks || !nameTaken(err) {
			return at.Join, err
		}
		if err := e.driver.Leave(ctx, at); err != nil {
			return at.Join, err
		}
		used[at.Join.Interface] = "not ours"
		at.Join.Interface = freeInterface(used)
	}
}

// nameTaken tells whether a driver's error says that the interface's name is another's.
func nameTaken(err error) bool {
	e, ok := errors.AsType[*cnm.Error](err)
	return ok && e.Kind == cnm.Exists && e.Field == "interface"
}
