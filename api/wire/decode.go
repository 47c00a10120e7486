// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// depthMax is how deep JSON may be nested; nothing we speak needs more than four.
const depthMax = 16

// Decode reads one JSON value into the struct that into points at. It is stricter than encoding/json: a key
// that the struct does not have with exactly this spelling, a key given twice, nesting deeper than 16 and anything after the
// value are errors of kind [cnm.Invalid] that name the place.
func Decode(data []byte, into any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return cnm.Errorf(cnm.Invalid, "the JSON is empty")
	}
	c := checker{dec: json.NewDecoder(bytes.NewReader(data))}
	c.dec.UseNumber()
	if err := c.value(reflect.TypeOf(into).Elem(), "", 0); err != nil {
		return c.explain(err)
	}
	if _, err := c.dec.Token(); !errors.Is(err, io.EOF) {
		return cnm.Errorf(cnm.Invalid, "there is more after the JSON value, at byte %d", c.dec.InputOffset())
	}
	return c.explain(json.Unmarshal(data, into))
}

// checker walks JSON beside the type it is for.
type checker struct{ dec *json.Decoder }

// explain turns the errors of encoding/json into ours.
func (c *checker) explain(err error) error {
	var ours *cnm.Error
	var typed *json.UnmarshalTypeError
	switch {
	case err == nil, errors.As(err, &ours):
		return err
	case errors.As(err, &typed) && typed.Field != "":
		return cnm.FieldErrorf(cnm.Invalid, typed.Field, "%s is a JSON %s; it must be %s", typed.Field, typed.Value, kindName(typed.Type))
	case errors.As(err, &typed):
		return cnm.Errorf(cnm.Invalid, "the JSON is of type %s; it must be an object", typed.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return cnm.Errorf(cnm.Invalid, "the JSON ends in the middle, at byte %d", c.dec.InputOffset())
	default:
		return cnm.Errorf(cnm.Invalid, "the JSON is wrong at byte %d: %w", c.dec.InputOffset(), err)
	}
}

// kindName is a Go type in JSON's words.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Pointer:
		return kindName(t.Elem())
	default:
		return "a whole number in range"
	}
}

// value checks the next value; t is nil where the type gives no rule.
func (c *checker) value(t reflect.Type, path string, depth int) error {
	if depth > depthMax {
		return cnm.Errorf(cnm.Invalid, "the JSON is nested deeper than %d", depthMax)
	}
	token, err := c.dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		err = c.object(t, path, depth)
	case json.Delim('['):
		err = c.array(t, path, depth)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.dec.Token() // the closing delimiter
	return err
}

func (c *checker) array(t reflect.Type, path string, depth int) error {
	var elem reflect.Type
	if t != nil && t.Kind() == reflect.Slice {
		elem = t.Elem()
	}
	for i := 0; c.dec.More(); i++ {
		if err := c.value(elem, fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) object(t reflect.Type, path string, depth int) error {
	fields := fieldsOf(t)
	seen := map[string]bool{}
	for c.dec.More() {
		token, err := c.dec.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // a key is a string, or Token had failed
		at := strings.TrimPrefix(path+"."+key, ".")
		if seen[key] {
			return cnm.FieldErrorf(cnm.Invalid, clip(at), "field %q is given twice", clip(at))
		}
		seen[key] = true
		elem, known := fields[key]
		if t != nil && t.Kind() == reflect.Map {
			elem, known = t.Elem(), true
		}
		if t != nil && !known && fields != nil {
			return cnm.FieldErrorf(cnm.Invalid, clip(at), "field %q is unknown%s", clip(at), knownFields(fields))
		}
		if err := c.value(elem, at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// knownFields lists what there is.
func knownFields(fields map[string]reflect.Type) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return "; known are " + strings.Join(names, ", ")
}

// fieldsOf is the JSON names of a struct's fields, embedded ones included; nil for any other type.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.Anonymous && name != "" {
			fields[name] = f.Type
		}
	}
	return fields
}
