// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// describe is the human form of inspect: the JSON's keys and values in their order, indented, without what is empty. Two
// objects are parted by a line.
func describe[T any](w io.Writer, items []T) error {
	for i := range items {
		if i > 0 {
			fmt.Fprintln(w)
		}
		data, err := json.Marshal(items[i])
		if err != nil {
			return err
		}
		lines, _, err := descend(data)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// printable is a text that stays on its line and cannot steer a terminal: one that could is quoted.
func printable(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

// descend gives the lines of a value, none if it is empty, and whether they belong below their key, not beside it.
func descend(value json.RawMessage) (lines []string, below bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	token, err := dec.Token()
	if err != nil {
		return nil, false, err
	}
	switch token {
	case json.Delim('{'):
		lines, err = members(dec)
		return lines, true, err
	case json.Delim('['):
		lines, err = elements(dec)
		return lines, true, err
	case "", nil:
		return nil, false, nil
	default:
		return []string{printable(fmt.Sprint(token))}, false, nil
	}
}

// members gives "key: value" lines, values of several lines below their key.
func members(dec *json.Decoder) ([]string, error) {
	var out []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		lines, below, err := next(dec)
		switch {
		case err != nil:
			return nil, err
		case len(lines) == 0:
		case !below:
			out = append(out, printable(fmt.Sprint(key))+": "+lines[0])
		default:
			out = append(out, printable(fmt.Sprint(key))+":")
			for _, line := range lines {
				out = append(out, "  "+line)
			}
		}
	}
	return out, nil
}

// elements gives each element behind a dash.
func elements(dec *json.Decoder) ([]string, error) {
	var out []string
	for dec.More() {
		lines, _, err := next(dec)
		if err != nil {
			return nil, err
		}
		for i, line := range lines {
			lead := "  "
			if i == 0 {
				lead = "- "
			}
			out = append(out, lead+line)
		}
	}
	return out, nil
}

func next(dec *json.Decoder) (lines []string, below bool, err error) {
	var value json.RawMessage
	if err := dec.Decode(&value); err != nil {
		return nil, false, err
	}
	return descend(value)
}
