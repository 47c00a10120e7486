// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/libnetwork/cnm"
)

// schemaVersion is the version of what the files hold. It goes up by one with every release that changes a record's fields or
// the buckets; the release then brings a [migration] from the version before, and keeps a file of it in testdata.
const schemaVersion = 1

// migration brings a file's buckets from one schema version to the next, inside the transaction that records the new version.
type migration func(tx *bbolt.Tx) error

// schema is a version and how to get there from older ones: steps[n] leads from n to n+1.
type schema struct {
	version int
	steps   map[int]migration
}

// currentSchema is what this release reads and writes. No release has written an older one.
func currentSchema() schema { return schema{version: schemaVersion} }

// lifetime is how long what a file holds lives. Its name is kept in the file, so that one cannot be taken for the other.
type lifetime string

// The lifetimes.
const (
	durable lifetime = "durable"
	boot    lifetime = "boot"
)

// A file has two buckets. What is said here of them holds in every schema version, so that any release can tell what a file is, who
// wrote it, and whether it is whole.
const (
	// metaBucket describes the file.
	metaBucket = "meta"
	keyHolds   = "holds"  // the lifetime
	keySchema  = "schema" // decimal
	keyWriter  = "writer" // the version of the program that made the file or last migrated it
	keyGroup   = "group"  // of a boot file: decimal

	// recordsBucket holds all records, each in an envelope. Its sequence number is the sum of their sums and of those of what
	// metaBucket says, modulo 2^64, so that a record that got lost is missed. It is kept there because a change of the bucket writes it
	// anyway.
	recordsBucket = "records"
)

// meta is what a file says of itself.
type meta struct {
	holds  lifetime
	schema int
	writer string
	group  uint32
}

// readMeta reads the meta bucket.
func readMeta(found buckets) (meta, error) {
	b, ok := found[metaBucket]
	if !ok {
		return meta{}, errors.New("it has no bucket \"meta\": another program wrote it")
	}
	text := make(map[string]string, len(b.pairs))
	for _, p := range b.pairs {
		text[string(p.key)] = string(p.value)
	}
	m := meta{holds: lifetime(text[keyHolds]), writer: text[keyWriter]}
	var err error
	if m.schema, err = strconv.Atoi(text[keySchema]); err != nil || m.schema < 0 {
		return meta{}, fmt.Errorf("its schema version is %q", text[keySchema])
	}
	if m.holds == boot {
		group, err := strconv.ParseUint(text[keyGroup], 10, 31)
		if err != nil || group == 0 {
			return meta{}, fmt.Errorf("its link group is %q", text[keyGroup])
		}
		m.group = uint32(group)
	}
	return m, nil
}

// establish fills a new file.
func establish(tx *bbolt.Tx, holds lifetime, s schema, writer string) error {
	m, err := tx.CreateBucket([]byte(metaBucket))
	if err != nil {
		return err
	}
	text := map[string]string{
		keyHolds:  string(holds),
		keySchema: strconv.Itoa(s.version),
		keyWriter: writer,
	}
	if holds == boot {
		text[keyGroup] = strconv.FormatUint(uint64(1+rand.Uint32N(1<<31-1)), 10)
	}
	for k, v := range text {
		if err := m.Put([]byte(k), []byte(v)); err != nil {
			return err
		}
	}
	if _, err = tx.CreateBucket([]byte(recordsBucket)); err != nil {
		return err
	}
	return conclude(tx)
}

// conclude writes the sum of all that tx holds.
func conclude(tx *bbolt.Tx) error {
	_, total, err := sumUp(tx)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(recordsBucket)).SetSequence(total)
}

// metaSum is the sum of one entry of metaBucket.
func metaSum(name, value []byte) uint64 { return checksum(key{string(name), metaBucket}, 0, value) }

// check tells why a file of this content is not to be opened by this release. The second result says whether that is
// because of damage.
func (s schema) check(found buckets, holds lifetime) (m meta, damaged bool, problem error) {
	m, err := readMeta(found)
	if err != nil {
		return m, true, err
	}
	if err := checkSums(found); err != nil {
		return m, true, err
	}
	if m.holds != holds {
		return m, true, fmt.Errorf("it holds %q records and not %q ones: it is another store's file", m.holds, holds)
	}
	if m.schema > s.version {
		return m, false, cnm.Errorf(cnm.Unsupported, "%s wrote it with schema %d, and this program knows schemas up to %d: start %s or newer", m.writer, m.schema, s.version, m.writer)
	}
	for v := m.schema; v < s.version; v++ {
		if s.steps[v] == nil {
			return m, false, cnm.Errorf(cnm.Unsupported, "%s wrote it with schema %d, from which this program has no way to its own, %d: start a release that reads schema %d once", m.writer, m.schema, s.version, m.schema)
		}
	}
	return m, false, nil
}

// checkSums checks every record's sum, that none is lost, and that there is nothing else.
func checkSums(found buckets) error {
	b, ok := found[recordsBucket]
	if !ok || len(found) != 2 {
		return fmt.Errorf("it has %d buckets and should have %q and %q", len(found), metaBucket, recordsBucket)
	}
	var total uint64
	for _, p := range found[metaBucket].pairs {
		total += metaSum(p.key, p.value)
	}
	for _, p := range b.pairs {
		k, err := parseKey(p.key)
		if err != nil {
			return err
		}
		e, err := open(k, p.value)
		if err != nil {
			return err
		}
		total += e.sum
	}
	if b.sequence != total {
		return fmt.Errorf("the sum of its %d records is %x and should be %x: some are lost", len(b.pairs), total, b.sequence)
	}
	return nil
}

// migrate brings a file from version from to s's, in one transaction.
func (s schema) migrate(tx *bbolt.Tx, from int, writer string) error {
	for v := from; v < s.version; v++ {
		if err := s.steps[v](tx); err != nil {
			return fmt.Errorf("migrate schema %d to %d: %w", v, v+1, err)
		}
	}
	m := tx.Bucket([]byte(metaBucket))
	return errors.Join(
		m.Put([]byte(keySchema), []byte(strconv.Itoa(s.version))),
		m.Put([]byte(keyWriter), []byte(writer)),
		conclude(tx),
	)
}

// sumUp makes the sum of each record, and of all that tx holds.
func sumUp(tx *bbolt.Tx) (sums map[key]uint64, total uint64, err error) {
	sums = map[key]uint64{}
	err = errors.Join(
		tx.Bucket([]byte(metaBucket)).ForEach(func(name, value []byte) error {
			total += metaSum(name, value)
			return nil
		}),
		tx.Bucket([]byte(recordsBucket)).ForEach(func(name, value []byte) error {
			k, err := parseKey(name)
			if err != nil {
				return err
			}
			e, err := open(k, value)
			sums[k] = e.sum
			total += e.sum
			return err
		}),
	)
	return sums, total, err
}
