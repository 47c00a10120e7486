// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, field, text string }{
		"nothing":             {"", "", "is empty"},
		"blank":               {" \n", "", "is empty"},
		"unknown":             {`{"nam":"a"}`, "nam", `field "nam" is unknown; known are`},
		"wrong case":          {`{"Name":"a"}`, "Name", `field "Name" is unknown`},
		"unknown below":       {`{"subnets":[{"prefix":"10.0.0.0/8"},{"prefx":""}]}`, "subnets[1].prefx", "is unknown; known are gateway, prefix"},
		"twice":               {`{"name":"a","name":"b"}`, "name", "given twice"},
		"twice in a map":      {`{"labels":{"a":"1","a":"2"}}`, "labels.a", "given twice"},
		"trailing":            {`{"name":"a"} {}`, "", "more after the JSON value"},
		"trailing dirt":       {`{"name":"a"}x`, "", "more after the JSON value"},
		"cut off":             {`{"name":"a"`, "", "ends in the middle"},
		"cut off in a string": {`{"name":"a`, "", "ends in the middle"},
		"no JSON":             {`name=a`, "", "wrong at byte"},
		"wrong type":          {`{"mtu":"big"}`, "mtu", "mtu is a JSON string; it must be a whole number in range"},
		"text for a list":     {`{"dns":"1.1.1.1"}`, "dns", "must be a list"},
		"number for text":     {`{"name":4}`, "name", "must be a string"},
		"text for a boolean":  {`{"internal":"yes"}`, "internal", "must be a boolean"},
		"text for an object":  {`{"labels":"a=b"}`, "labels", "must be an object"},
		"a list":              {`[]`, "", "it must be an object"},
		"too big":             {`{"mtu":1e30}`, "mtu", "whole number in range"},
		"deep":                {`{"labels":` + strings.Repeat(`{"a":`, 20) + `1` + strings.Repeat(`}`, 21), "", "nested deeper"},
		"deep lists":          {`{"dns":` + strings.Repeat(`[`, 20) + strings.Repeat(`]`, 20) + `}`, "", "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v NetworkCreate
			err := Decode([]byte(c.in), &v)
			if !errors.Is(err, cnm.Invalid) {
				t.Fatalf("got %v, want an invalid", err)
			}
			var e *cnm.Error
			if errors.As(err, &e); e.Field != c.field || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got field %q, text %q; want field %q, text with %q", e.Field, err, c.field, c.text)
			}
		})
	}
}

func TestDecodeTakesEmbeddedFields(t *testing.T) {
	t.Parallel()
	var v Attach
	in := `{"sandbox":"web","network":"front","addresses":["10.0.0.9"],"interface":"lan0","gateway_priority":-2,"sysctls":{"a":"b"}}`
	if err := Decode([]byte(in), &v); err != nil {
		t.Fatal(err)
	}
	if v.Addresses[0] != "10.0.0.9" || v.Interface != "lan0" || v.GatewayPriority != -2 || v.Sysctls["a"] != "b" {
		t.Errorf("got %+v", v)
	}
}

// FuzzDecode: what is taken is what encoding/json would take, and nothing panics.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"name":"a","subnets":[{"prefix":"x","reserved":{"r":"1"}}],"ipv4":null}`, `{"a":1}`, `[[[[`, `{"name":1}`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, lax NetworkCreate
		if err := Decode(data, &strict); err != nil {
			if !errors.Is(err, cnm.Invalid) {
				t.Errorf("%q: %v is no invalid", data, err)
			}
			return
		}
		if err := json.Unmarshal(data, &lax); err != nil {
			t.Errorf("%q was taken, but is no JSON: %v", data, err)
		}
	})
}
