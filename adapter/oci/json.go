// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// object is a JSON object that keeps the order of its members and the text of their values, whatever they are.
type object struct{ members []member }

type member struct {
	key   string
	value json.RawMessage
}

// parseObject reads an object; what is not there is an empty one.
func parseObject(what string, text json.RawMessage) (*object, error) {
	o := &object{}
	if len(text) == 0 || string(text) == "null" {
		return o, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	token, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if token != json.Delim('{') {
		return nil, fmt.Errorf("%s is no JSON object", what)
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		m := member{key: fmt.Sprint(token)}
		if err := dec.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		o.members = append(o.members, m)
	}
	return o, nil
}

// parseWhole reads an object that is all there is.
func parseWhole(what string, text []byte) (*object, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return parseObject(what, bytes.TrimSpace(whole))
}

// parseArray reads an array; what is not there is an empty one.
func parseArray(what string, text json.RawMessage) ([]json.RawMessage, error) {
	var all []json.RawMessage
	if len(text) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s is no JSON array", what)
	}
	return all, nil
}

// get is a member's value; nil if there is none. Of several with one key it is the last, as everybody reads them.
func (o *object) get(key string) json.RawMessage {
	for _, m := range slices.Backward(o.members) {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// text is the value of a member that is a string, else "".
func (o *object) text(key string) string {
	var s string
	if json.Unmarshal(o.get(key), &s) != nil {
		return ""
	}
	return s
}

// set replaces a member's value in its place, or adds the member at the end.
func (o *object) set(key string, value any) error {
	text, err := encode(value)
	if err != nil {
		return err
	}
	for i := range slices.Backward(o.members) {
		if o.members[i].key == key {
			o.members[i].value = text
			return nil
		}
	}
	o.members = append(o.members, member{key, text})
	return nil
}

// drop removes a member.
func (o *object) drop(key string) {
	o.members = slices.DeleteFunc(o.members, func(m member) bool { return m.key == key })
}

// MarshalJSON is the object with its members in their order.
func (o *object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o.members {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := encode(m.key)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encode is JSON without the care for web pages.
func encode(v any) (json.RawMessage, error) {
	if o, ok := v.(*object); ok {
		return o.MarshalJSON() // json.Marshal would write the values anew
	}
	if all, ok := v.([]json.RawMessage); ok {
		return slices.Concat([]byte("["), bytes.Join(asBytes(all), []byte(",")), []byte("]")), nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

func asBytes(all []json.RawMessage) [][]byte {
	out := make([][]byte, len(all))
	for i := range all {
		out[i] = all[i]
	}
	return out
}

// format lays an object out as an earlier text of it was: indented by the same, or on one line, and with its end. One that says the same keeps it.
func format(o *object, like []byte) ([]byte, error) {
	text, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var b, was bytes.Buffer
	if json.Compact(&b, text) == nil && json.Compact(&was, like) == nil && bytes.Equal(b.Bytes(), was.Bytes()) {
		return like, nil
	}
	b.Reset()
	if indent := regexp.MustCompile(`^\s*\{\r?\n([ \t]+)"`).FindSubmatch(like); indent != nil {
		err = json.Indent(&b, text, "", string(indent[1]))
	} else {
		err = json.Compact(&b, text)
	}
	if err != nil {
		return nil, err
	}
	if bytes.HasSuffix(like, []byte("\n")) {
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}
