// SPDX-License-Identifier: Apache-2.0

package server

import cnm "github.com/libnetwork/cnm"

func query(keys []string) error {
	for _, key := range keys {
		return cnm.FieldErrorf(cnm.Invalid, key, "query %q is unknown here", key)
	}
	return cnm.FieldErrorf(cnm.Invalid, "Accept", "x") // found
}
