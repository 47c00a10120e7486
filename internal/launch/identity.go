// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// identity is whom a command runs as.
type identity struct {
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Groups []int  `json:"groups"`
	Name   string `json:"name"` // "" for a number that no user has
	Home   string `json:"home"`
}

// identify reads NAME or UID, with :GROUP or :GID if wanted. Without a group it is the user's own, with its
// supplementary ones; a number that no user has stands alone. "" is nobody in particular.
func identify(text string) (*identity, error) {
	if text == "" {
		return nil, nil
	}
	who, group, grouped := strings.Cut(text, ":")
	id, err := userNamed(who)
	if err != nil {
		return nil, err
	}
	if !grouped {
		return id, nil
	}
	id.GID, err = groupNamed(group)
	id.Groups = []int{id.GID}
	return id, err
}

func userNamed(who string) (*identity, error) {
	u, err := user.Lookup(who)
	number, numeric := idNumber(who)
	if err != nil && numeric {
		u, err = user.LookupId(who)
	}
	if _, ok := errors.AsType[user.UnknownUserIdError](err); ok {
		return &identity{UID: number, GID: number, Groups: []int{number}}, nil
	}
	if err != nil {
		return nil, cnm.FieldErrorf(cnm.Invalid, "user", "user %q is not known; give one that is, or a number (%w)", who, err)
	}
	id := &identity{Name: u.Username, Home: u.HomeDir}
	uid, okUID := idNumber(u.Uid)
	gid, okGID := idNumber(u.Gid)
	if !okUID || !okGID {
		return nil, cnm.FieldErrorf(cnm.Invalid, "user", "user %q has the ids %s:%s, which are no numbers", who, u.Uid, u.Gid)
	}
	id.UID, id.GID = uid, gid
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %q: %w", who, err)
	}
	for _, g := range groups {
		if n, ok := idNumber(g); ok {
			id.Groups = append(id.Groups, n)
		}
	}
	return id, nil
}

func groupNamed(name string) (int, error) {
	if n, ok := idNumber(name); ok {
		return n, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, cnm.FieldErrorf(cnm.Invalid, "user", "group %q of the user is not known; give one that is, or a number (%w)", name, err)
	}
	n, ok := idNumber(g.Gid)
	if !ok {
		return 0, cnm.FieldErrorf(cnm.Invalid, "user", "group %q has the id %s, which is no number", name, g.Gid)
	}
	return n, nil
}

// idNumber reads a user's or group's number; the highest means "leave as it is" to the kernel and is none.
func idNumber(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil && n < 1<<32-1
}

// environ sets what says who we are, unless the user is only a number.
func (id *identity) environ(env []string) []string {
	if id.Name == "" {
		return env
	}
	var out []string
	for _, kv := range env {
		switch key, _, _ := strings.Cut(kv, "="); key {
		case "HOME", "USER", "LOGNAME":
		default:
			out = append(out, kv)
		}
	}
	return append(out, "HOME="+id.Home, "USER="+id.Name, "LOGNAME="+id.Name)
}
