// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/libnetwork/cnm"
)

// kind is a kind of record.
type kind string

// The kinds.
const (
	network  kind = "network"
	endpoint kind = "endpoint"
	sandbox  kind = "sandbox"
	join     kind = "join"
)

// key names one record. In the file it is "ID/KIND": so an endpoint and its join, which are put together, are in one page.
type key struct {
	id   string
	kind kind
}

// bytes is the key as it is in the file.
func (k key) bytes() []byte {
	b := make([]byte, 0, len(k.id)+1+len(k.kind))
	b = append(b, k.id...)
	b = append(b, '/')
	return append(b, k.kind...)
}

// String is for errors.
func (k key) String() string { return string(k.kind) + " " + k.id }

// parseKey reads a key of the file.
func parseKey(b []byte) (key, error) {
	id, name, ok := strings.Cut(string(b), "/")
	if !ok || id == "" {
		return key{}, fmt.Errorf("%q is no key of a record", clip(b))
	}
	return key{id, kind(name)}, nil
}

// change is one record to be put, or to be removed where value is nil.
type change struct {
	key
	value []byte
	sum   uint64 // of what is put
}

// A record is stored as {"v":SCHEMA,"sum":"SUM","rec":RECORD}, to the byte. The sum covers identifier, kind, schema and the record's bytes
// as they stand.
const (
	beforeSchema = `{"v":`
	beforeSum    = `,"sum":"`
	beforeRecord = `","rec":`
	afterRecord  = `}`
	sumDigits    = 16
)

// envelope is what is stored, taken apart.
type envelope struct {
	schema int
	sum    uint64
	record []byte
}

// encode makes the change that puts record under k. The record is marshalled straight into its envelope.
func encode(k key, record any) (change, error) {
	if k.id == "" {
		return change{}, cnm.Errorf(cnm.Invalid, "a %s has no identifier", k.kind)
	}
	buf := bytes.NewBuffer(make([]byte, 0, 1024))
	at := begin(buf, schemaVersion)
	if err := json.NewEncoder(buf).Encode(record); err != nil {
		return change{}, cnm.Errorf(cnm.Internal, "encode %s: %w", k, err)
	}
	buf.Truncate(buf.Len() - 1) // the encoder ends with a newline
	return end(k, schemaVersion, buf, at), nil
}

// seal puts an encoded record into its envelope.
func seal(k key, schema int, record []byte) change {
	var buf bytes.Buffer
	at := begin(&buf, schema)
	buf.Write(record)
	return end(k, schema, &buf, at)
}

// begin writes what precedes a record, with room for the sum, and returns where the sum goes.
func begin(buf *bytes.Buffer, schema int) int {
	buf.WriteString(beforeSchema)
	buf.WriteString(strconv.Itoa(schema))
	buf.WriteString(beforeSum)
	at := buf.Len()
	buf.WriteString("0000000000000000")
	buf.WriteString(beforeRecord)
	return at
}

// end completes an envelope.
func end(k key, schema int, buf *bytes.Buffer, at int) change {
	sum := checksum(k, schema, buf.Bytes()[at+sumDigits+len(beforeRecord):])
	buf.WriteString(afterRecord)
	value := buf.Bytes()
	appendHex(value[:at], sum)
	return change{key: k, value: value, sum: sum}
}

// open takes a value apart and checks its sum.
func open(k key, value []byte) (envelope, error) {
	rest, isOne := bytes.CutPrefix(value, []byte(beforeSchema))
	schema, rest, hasSum := bytes.Cut(rest, []byte(beforeSum))
	sum, rest := rest[:min(sumDigits, len(rest))], rest[min(sumDigits, len(rest)):]
	rest, hasRecord := bytes.CutPrefix(rest, []byte(beforeRecord))
	record, isWhole := bytes.CutSuffix(rest, []byte(afterRecord))
	version, err := strconv.Atoi(string(schema))
	if !isOne || !hasSum || !hasRecord || !isWhole || err != nil {
		return envelope{}, fmt.Errorf("%s is no record", k)
	}
	e := envelope{schema: version, sum: checksum(k, version, record), record: record}
	if string(appendHex(nil, e.sum)) != string(sum) {
		return envelope{}, fmt.Errorf("%s has sum %016x and says %q", k, e.sum, sum)
	}
	return e, nil
}

// decode reads a value of the current schema into record, refusing what record has no field for.
func decode(k key, value []byte, record any) error {
	e, err := open(k, value)
	if err != nil {
		return err
	}
	if e.schema != schemaVersion {
		return fmt.Errorf("%s is of schema %d in a file of schema %d", k, e.schema, schemaVersion)
	}
	if err := strictly(e.record, record); err != nil {
		return fmt.Errorf("%s: %w", k, err)
	}
	return nil
}

// strictly reads exactly one JSON value with no unknown fields.
func strictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// checksum tells a damaged record from a good one. It is no defence against an author. It is two sums of 32 bits with different
// polynomials, since the processor makes those ten times as fast as one of 64.
func checksum(k key, schema int, record []byte) uint64 {
	name := strconv.AppendInt(append(k.bytes(), '/'), int64(schema), 10)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	high := crc32.Update(crc32.ChecksumIEEE(name), crc32.IEEETable, record)
	low := crc32.Update(crc32.Checksum(name, castagnoli), castagnoli, record)
	return uint64(high)<<32 | uint64(low)
}

// appendHex appends sum as sixteen digits.
func appendHex(b []byte, sum uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[sum>>shift&0xf])
	}
	return b
}
