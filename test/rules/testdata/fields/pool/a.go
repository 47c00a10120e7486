// SPDX-License-Identifier: Apache-2.0

package pool

import cnm "github.com/libnetwork/cnm"

const (
	good = "ip-range"
	bad  = "range"
)

func plain() error {
	if false {
		return cnm.FieldErrorf(cnm.Invalid, good, "x")
	}
	if false {
		return cnm.FieldErrorf(cnm.Invalid, bad, "x") // found
	}
	if false {
		return &cnm.Error{Field: "quiet"}
	}
	return &cnm.Error{Field: "quite"} // found
}

func passed(_ int, name string) error { return cnm.CheckName(name, "x") }

func caller() error {
	if err := passed(1, "network"); err != nil {
		return err
	}
	return passed(2, "net") // found
}

func variable(other bool) error {
	field := "quiet"
	if other {
		field = "loud"
	}
	fail := func() error { return &cnm.Error{Field: field} } // found
	return fail()
}

func literal() error {
	needs := func(field string) error { return cnm.FieldErrorf(cnm.Invalid, field, "x") }
	if err := needs(good); err != nil {
		return err
	}
	return needs(bad) // found
}

func loop() error {
	for _, key := range []string{"quiet", "wide"} {
		if false {
			return cnm.FieldErrorf(cnm.Invalid, key, "x") // found
		}
	}
	return nil
}

func hidden(s struct{ name string }) error {
	return cnm.FieldErrorf(cnm.Invalid, s.name, "x") // found
}
