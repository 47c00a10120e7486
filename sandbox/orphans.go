// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"path/filepath"

	"github.com/libnetwork/cnm/kernel/netns"
)

// Orphans names a namespace that is pinned in our directory, for a start that finds no records of it: somebody's processes may be
// inside. A file without a namespace, as a pin leaves it where the directory outlives the boot, is none. "" if there are none.
func (s *Stack) Orphans(context.Context) (string, error) {
	names, err := s.foreign(nil)
	for _, name := range names {
		pin := filepath.Join(s.pinDir, name)
		if ns, err := netns.Open(pin); err == nil {
			return "namespace " + pin, ns.Close()
		}
	}
	return "", err
}
