// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/libnetwork/cnm"
)

// ErrDamaged is wrapped by the error for a file that is not what this package left there.
var ErrDamaged = errors.New("damaged")

// damaged says why a file is refused, and the way out, which depends on what is lost with it.
func damaged(holds lifetime, why error) error {
	way := "put a copy of it back, or move it away to start with no networks and no kept endpoints"
	if holds == boot {
		way = "move it away and start again: what runs keeps its network, but the sandboxes and endpoints of this boot are no longer known"
	}
	return cnm.Errorf(cnm.Internal, "%w: %w; nothing in it was changed; %s", ErrDamaged, why, way)
}

// diskError is the error for a failed system call or transaction on the file at path.
func diskError(doing, path string, err error) error {
	known, ok := errors.AsType[*cnm.Error](err)
	switch {
	case ok:
		return cnm.Errorf(known.Kind, "%s %s: %w", doing, path, err)
	case errors.Is(err, syscall.EROFS):
		return cnm.Errorf(cnm.NotPermitted, "%s %s: %w; remount it read-write, or choose another directory", doing, path, err)
	case errors.Is(err, fs.ErrPermission):
		return cnm.Errorf(cnm.NotPermitted, "%s %s: %w; it must belong to the daemon's user and be writable by it", doing, path, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return cnm.Errorf(cnm.Exhausted, "%s %s: %w; free some space there and try again", doing, path, err)
	case errors.Is(err, fs.ErrNotExist):
		return cnm.Errorf(cnm.NotFound, "%s %s: %w; make the directory first", doing, path, err)
	default:
		return cnm.Errorf(cnm.Internal, "%s %s: %w", doing, path, err)
	}
}
