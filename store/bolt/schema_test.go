// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/store/storetest"
)

// kept is the folder of one file of each kind for every released schema, and of faked ones.
const kept = "testdata"

// updateFlag says that the files of the current schema are to be made anew, which is right only until a release has written it.
func updateFlag() bool { return flag.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "make the files of the current schema in testdata anew")
	flag.Parse()
	os.Exit(m.Run())
}

// keptRecords is what the kept files hold.
func keptRecords() cnm.Records {
	kept, other := storetest.Sample(1, true), storetest.Sample(2, false)
	return cnm.Records{
		Networks:  append(kept.Networks, other.Networks...),
		Endpoints: append(kept.Endpoints, other.Endpoints...),
		Sandboxes: append(kept.Sandboxes, other.Sandboxes...),
		Joins:     append(kept.Joins, other.Joins...),
	}
}

// place copies kept files of a schema into a new store's directories.
func place(t *testing.T, version int) Config {
	t.Helper()
	c := config(t)
	for _, l := range []lifetime{durable, boot} {
		mustWrite(t, c.path(t, l), mustRead(t, filepath.Join(kept, fmt.Sprintf("schema-%d-%s.db", version, l))))
	}
	return c
}

// keep puts a store's files into testdata.
func keep(t *testing.T, c Config, version int) {
	t.Helper()
	for _, l := range []lifetime{durable, boot} {
		data := mustRead(t, c.path(t, l))
		found, err := readImage(data)
		if err != nil {
			t.Fatalf("the file to keep: %v", err)
		}
		if len(found) != 2 {
			t.Fatalf("the file to keep has %d buckets", len(found))
		}
		if err := os.WriteFile(filepath.Join(kept, fmt.Sprintf("schema-%d-%s.db", version, l)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSchema opens the kept files of the current schema.
func TestSchema(t *testing.T) {
	t.Parallel()
	if updateFlag() {
		c := config(t)
		s := mustOpen(t, c)
		mustPut(t, s, keptRecords())
		mustClose(t, s)
		keep(t, c, schemaVersion)
	}
	s := mustOpen(t, place(t, schemaVersion))
	got, want := mustLoad(t, s), keptRecords()
	if got.Boot.Fresh || got.Boot.Group == 0 {
		t.Errorf("it says %+v", got.Boot)
	}
	got.Boot = cnm.Boot{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the file of schema %d holds\n%+v\nand not\n%+v", schemaVersion, got, want)
	}
	mustPut(t, s, storetest.Sample(3, true))
}

// TestRecordShape sees to it that nobody changes a record's fields without a thought for the files that users have.
func TestRecordShape(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, record := range []any{cnm.Network{}, cnm.Endpoint{}, cnm.Sandbox{}, cnm.Join{}} {
		shape(&b, reflect.TypeOf(record), "")
	}
	path := filepath.Join(kept, fmt.Sprintf("schema-%d.txt", schemaVersion))
	if updateFlag() {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(mustRead(t, path)); b.String() != want {
		t.Errorf("the records' fields are no longer those of schema %d. If a release has written it, raise schemaVersion, add a migration and keep the old files; "+
			"if none has, run go test ./store/bolt -update. Now they are:\n%s", schemaVersion, b.String())
	}
}

// shape lists the fields of a type, and of the types in it that are encoded field by field.
func shape(b *strings.Builder, t reflect.Type, indent string) {
	text := reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()
	fmt.Fprintf(b, "%s%s\n", indent, t)
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.Implements(text) {
		return
	}
	for f := range t.Fields() {
		fmt.Fprintf(b, "%s  %s ", indent, f.Name)
		var inner strings.Builder
		shape(&inner, f.Type, indent+"  ")
		b.WriteString(strings.TrimLeft(inner.String(), " "))
	}
}

// disguise changes what closed files say of their schema and writer, and their records through fn, keeping the sums right.
func disguise(t *testing.T, c Config, version int, fn func(k key, e envelope) change) {
	t.Helper()
	for _, l := range []lifetime{durable, boot} {
		db, err := bbolt.Open(c.path(t, l), 0o600, (&opening{holds: l}).options(nil))
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			m := tx.Bucket([]byte(metaBucket))
			return errors.Join(
				m.Put([]byte(keySchema), []byte(strconv.Itoa(version))),
				m.Put([]byte(keyWriter), fmt.Appendf(nil, "cnm %d.0.0", version)),
				rewrite(tx, fn),
				conclude(tx),
			)
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// rewrite replaces every record.
func rewrite(tx *bbolt.Tx, fn func(k key, e envelope) change) error {
	b := tx.Bucket([]byte(recordsBucket))
	var changes []change
	err := b.ForEach(func(name, value []byte) error {
		k, err := parseKey(name)
		if err != nil {
			return err
		}
		e, err := open(k, value)
		changes = append(changes, change{key: k}, fn(k, e))
		return err
	})
	for _, c := range changes {
		if c.value == nil {
			err = errors.Join(err, b.Delete(c.bytes()))
		} else {
			err = errors.Join(err, b.Put(c.bytes(), c.value))
		}
	}
	return err
}

// older makes a record of schema 0, which no release wrote: there a name was called Title.
func older(k key, e envelope) change {
	return seal(k, 0, bytes.Replace(e.record, []byte(`"Name":"`), []byte(`"Title":"`), 1))
}

// fromOlder is the migration that schema 0 would have.
func fromOlder(tx *bbolt.Tx) error {
	return rewrite(tx, func(k key, e envelope) change {
		return seal(k, 1, bytes.Replace(e.record, []byte(`"Title":"`), []byte(`"Name":"`), 1))
	})
}

// TestFakes makes the faked files.
func TestFakes(t *testing.T) {
	t.Parallel()
	if !updateFlag() {
		return
	}
	for version, fn := range map[int]func(key, envelope) change{
		0: older,
		schemaVersion + 1: func(k key, e envelope) change {
			return seal(k, schemaVersion+1, bytes.Replace(e.record, []byte(`{"`), []byte(`{"Tomorrow":true,"`), 1))
		},
	} {
		c := config(t)
		s := mustOpen(t, c)
		mustPut(t, s, keptRecords())
		mustClose(t, s)
		disguise(t, c, version, fn)
		keep(t, c, version)
	}
}

// TestNewer refuses files of a newer release, and says which, and leaves them.
func TestNewer(t *testing.T) {
	t.Parallel()
	eachLifetime(t, func(t *testing.T, l lifetime) {
		newer, c := place(t, schemaVersion+1), place(t, schemaVersion)
		path, data := c.path(t, l), mustRead(t, newer.path(t, l))
		mustWrite(t, path, data)
		_, err := Open(c)
		checkRefusal(t, "a newer file", err, path, cnm.Unsupported)
		for _, says := range []string{"schema 2", "cnm 2.0.0 wrote it", "start cnm 2.0.0 or newer"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%v does not say %q", err, says)
			}
		}
		if !bytes.Equal(mustRead(t, path), data) {
			t.Error("refusing it changed it")
		}
	})
}

// TestUnknownField refuses a record with a field that this release has no place for, in a file that is whole otherwise.
func TestUnknownField(t *testing.T) {
	t.Parallel()
	c := place(t, schemaVersion)
	disguise(t, c, schemaVersion, func(k key, e envelope) change {
		return seal(k, schemaVersion, bytes.Replace(e.record, []byte(`{"`), []byte(`{"Tomorrow":true,"`), 1))
	})
	_, err := mustOpen(t, c).Load(t.Context())
	checkRefusal(t, "an unknown field", err, c.path(t, durable), cnm.Internal)
	if !strings.Contains(err.Error(), "Tomorrow") {
		t.Errorf("%v does not name the field", err)
	}
}

// TestOlder refuses a schema from which there is no way, and leaves the file.
func TestOlder(t *testing.T) {
	t.Parallel()
	eachLifetime(t, func(t *testing.T, l lifetime) {
		old, c := place(t, 0), place(t, schemaVersion)
		path, data := c.path(t, l), mustRead(t, old.path(t, l))
		mustWrite(t, path, data)
		_, err := Open(c)
		checkRefusal(t, "an older file", err, path, cnm.Unsupported)
		if !strings.Contains(err.Error(), "cnm 0.0.0 wrote it with schema 0") {
			t.Errorf("%v does not say who wrote it", err)
		}
		if !bytes.Equal(mustRead(t, path), data) {
			t.Error("refusing it changed it")
		}
	})
}

// TestMigrate brings an older file up, once.
func TestMigrate(t *testing.T) {
	t.Parallel()
	c := place(t, 0)
	s, err := openWith(c, schema{version: 1, steps: map[int]migration{0: fromOlder}})
	if err != nil {
		t.Fatal(err)
	}
	got := mustLoad(t, s)
	got.Boot = cnm.Boot{}
	if want := keptRecords(); !reflect.DeepEqual(got, want) {
		t.Errorf("migrated it holds\n%+v\nand not\n%+v", got, want)
	}
	mustPut(t, s, storetest.Sample(3, true))
	mustClose(t, s)
	mustLoad(t, mustOpen(t, c)) // with no migration left to do
}

// TestMigrateFails leaves the file as it was where a migration fails.
func TestMigrateFails(t *testing.T) {
	t.Parallel()
	c := place(t, 0)
	broken := func(tx *bbolt.Tx) error {
		return errors.Join(fromOlder(tx), errors.New("a record of the year 1900"))
	}
	_, err := openWith(c, schema{version: 1, steps: map[int]migration{0: broken}})
	checkRefusal(t, "a migration that fails", err, c.path(t, durable), cnm.Internal)
	s, err := openWith(c, schema{version: 1, steps: map[int]migration{0: fromOlder}})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}
