// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// The layout of a bbolt file, version 2: pages of one size; the first two are headers (meta pages), written in turn; all
// others are leaves, branches or the list of free pages. Integers are in the byte order of the machine.
const (
	bboltMagic   = 0xED0CDAED
	bboltVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	pageHeader   = 16 // id uint64, flags uint16, count uint16, overflow uint32
	metaSize     = 64 // of which the last 8 are the sum of what precedes
	elementSize  = 16 // of a leaf: flags, pos, ksize, vsize uint32; of a branch: pos, ksize uint32, pgid uint64
	bucketHeader = 16 // root, sequence uint64
	subBucket    = 0x01

	noFreelist = ^uint64(0)
	maxPages   = 1 << 24
)

// pair is an entry of a bucket.
type pair struct{ key, value []byte }

// bucket is a bucket with all it holds, in order.
type bucket struct {
	sequence uint64
	pairs    []pair
}

// buckets are the file's top-level buckets.
type buckets map[string]bucket

// image is the content of a bbolt file that is being checked.
type image struct {
	data     []byte
	pageSize uint64
	root     uint64
	freelist uint64
	pages    uint64 // the number in use: the first id that is not
	seen     []bool // pages met so far
}

// readImage checks that data is a whole bbolt file, in which every page is what it says and each is used once, and returns what
// it holds. The result refers to data. It never panics, whatever data is.
func readImage(data []byte) (buckets, error) {
	im := &image{data: data}
	if err := im.readHeaders(); err != nil {
		return nil, err
	}
	im.seen = make([]bool, im.pages)
	top, err := im.tree(im.root, bounds{}, nil)
	if err != nil {
		return nil, err
	}
	found := make(buckets, len(top))
	for _, e := range top {
		if e.flags != subBucket {
			return nil, fmt.Errorf("entry %q of the root is no bucket", clip(e.key))
		}
		if found[string(e.key)], err = im.bucket(e); err != nil {
			return nil, fmt.Errorf("bucket %q: %w", clip(e.key), err)
		}
	}
	return found, im.readFreelist()
}

// header is one meta page.
type header struct{ pageSize, root, freelist, pages, tx uint64 }

// readHeaders reads both meta pages. Either being damaged is an error: what the other one leads to may be older.
func (im *image) readHeaders() error {
	if len(im.data) < pageHeader+metaSize || word32(im.data[pageHeader:]) != bboltMagic {
		return errors.New("it does not begin as a database does")
	}
	im.pageSize = uint64(word32(im.data[pageHeader+8:]))
	if im.pageSize < 1024 || im.pageSize > 1<<16 || im.pageSize&(im.pageSize-1) != 0 || uint64(len(im.data)) < 2*im.pageSize {
		return fmt.Errorf("%d bytes in pages of %d cannot be", len(im.data), im.pageSize)
	}
	var h [2]header
	for i := range h {
		var err error
		if h[i], err = im.readHeader(uint64(i)); err != nil {
			return fmt.Errorf("header %d: %w", i, err)
		}
	}
	newest := h[0]
	switch {
	case h[1].tx == h[0].tx+1:
		newest = h[1]
	case h[0].tx != h[1].tx+1:
		return fmt.Errorf("headers are of transactions %d and %d", h[0].tx, h[1].tx)
	}
	im.root, im.freelist, im.pages = newest.root, newest.freelist, newest.pages
	return nil
}

// readHeader reads one meta page.
func (im *image) readHeader(id uint64) (header, error) {
	p := im.data[id*im.pageSize:]
	m := p[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(m[:metaSize-8]) // a hash never fails
	switch {
	case word64(p) != id || word16(p[8:]) != metaPage:
		return header{}, errors.New("it is no header")
	case word32(m) != bboltMagic || word32(m[4:]) != bboltVersion:
		return header{}, fmt.Errorf("magic %#x, format %d", word32(m), word32(m[4:]))
	case word64(m[56:]) != sum.Sum64():
		return header{}, errors.New("its sum is wrong")
	}
	h := header{pageSize: uint64(word32(m[8:])), root: word64(m[16:]), freelist: word64(m[32:]), pages: word64(m[40:]), tx: word64(m[48:])}
	if h.pageSize != im.pageSize || h.pages < 3 || h.pages > maxPages || h.tx%2 != id {
		return header{}, errors.New("it contradicts itself")
	}
	return h, nil
}

// page is a page or an inline page.
type page struct {
	flags uint16
	count int
	data  []byte // all of it, with the header
}

// page returns page id, and notes that it is in use now.
func (im *image) page(id uint64) (page, error) {
	if id < 2 || id >= im.pages {
		return page{}, fmt.Errorf("page %d is outside of the file", id)
	}
	start := id * im.pageSize
	if start+im.pageSize > uint64(len(im.data)) {
		return page{}, fmt.Errorf("page %d is cut off", id)
	}
	raw := im.data[start:]
	last := id + uint64(word32(raw[12:]))
	switch {
	case word64(raw) != id:
		return page{}, fmt.Errorf("page %d says it is %d", id, word64(raw))
	case last >= im.pages || (last+1)*im.pageSize > uint64(len(im.data)):
		return page{}, fmt.Errorf("pages %d to %d are cut off", id, last)
	}
	for i := id; i <= last; i++ {
		if im.seen[i] {
			return page{}, fmt.Errorf("page %d is used twice", i)
		}
		im.seen[i] = true
	}
	return newPage(raw[:(last-id+1)*im.pageSize]), nil
}

func newPage(raw []byte) page {
	return page{flags: word16(raw[8:]), count: int(word16(raw[10:])), data: raw}
}

// entry is an element of a leaf.
type entry struct {
	flags uint32
	pair
}

// bounds are the keys a page may hold: from low, before high; nil is without bound.
type bounds struct{ low, high []byte }

func (b bounds) holds(key []byte) bool {
	return bytes.Compare(key, b.low) >= 0 && (b.high == nil || bytes.Compare(key, b.high) < 0)
}

// tree appends what is in the tree under page id.
func (im *image) tree(id uint64, within bounds, into []entry) ([]entry, error) {
	p, err := im.page(id)
	if err != nil {
		return nil, err
	}
	switch p.flags {
	case leafPage:
		into, err = p.leaf(within, into)
	case branchPage:
		into, err = im.branch(p, within, into)
	default:
		err = fmt.Errorf("it is of unknown type %#x", p.flags)
	}
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return into, nil
}

// leaf appends the entries of a leaf.
func (p page) leaf(within bounds, into []entry) ([]entry, error) {
	for i := range p.count {
		at := pageHeader + i*elementSize
		e, ok := slice(p.data, at, elementSize)
		if !ok {
			return nil, fmt.Errorf("entry %d is outside", i)
		}
		pos, ksize, vsize := word32(e[4:]), word32(e[8:]), word32(e[12:])
		k, okKey := slice(p.data, at+int(pos), int(ksize))
		v, okValue := slice(p.data, at+int(pos)+int(ksize), int(vsize))
		if !okKey || !okValue || len(k) == 0 || word32(e) > subBucket {
			return nil, fmt.Errorf("entry %d is damaged", i)
		}
		if !within.holds(k) {
			return nil, fmt.Errorf("entry %d is out of order", i)
		}
		within.low = append(bytes.Clone(k), 0) // the least key that is greater
		into = append(into, entry{word32(e), pair{k, v}})
	}
	return into, nil
}

// branch appends the entries of all the leaves under a branch.
func (im *image) branch(p page, within bounds, into []entry) ([]entry, error) {
	if p.count == 0 {
		return nil, errors.New("it is a branch with nothing below")
	}
	keys, children := make([][]byte, p.count), make([]uint64, p.count)
	for i := range p.count {
		at := pageHeader + i*elementSize
		e, ok := slice(p.data, at, elementSize)
		if !ok {
			return nil, fmt.Errorf("branch %d is outside", i)
		}
		children[i] = word64(e[8:])
		if keys[i], ok = slice(p.data, at+int(word32(e)), int(word32(e[4:]))); !ok || len(keys[i]) == 0 {
			return nil, fmt.Errorf("branch %d is damaged", i)
		}
	}
	for i := range keys {
		if !within.holds(keys[i]) {
			return nil, fmt.Errorf("branch %d is out of order", i)
		}
		within.low = append(bytes.Clone(keys[i]), 0)
		below := bounds{keys[i], within.high}
		if i+1 < len(keys) {
			below.high = keys[i+1]
		}
		var err error
		if into, err = im.tree(children[i], below, into); err != nil {
			return nil, err
		}
	}
	return into, nil
}

// bucket returns what is in the bucket whose entry is e. A small one has its only page inside the entry.
func (im *image) bucket(e entry) (bucket, error) {
	if len(e.value) < bucketHeader {
		return bucket{}, errors.New("its header is cut off")
	}
	var entries []entry
	var err error
	root, inline := word64(e.value), e.value[bucketHeader:]
	switch {
	case root != 0:
		entries, err = im.tree(root, bounds{}, nil)
	case len(inline) < pageHeader || word16(inline[8:]) != leafPage:
		err = errors.New("its inline page is no leaf")
	default:
		entries, err = newPage(inline).leaf(bounds{}, nil)
	}
	if err != nil {
		return bucket{}, err
	}
	b := bucket{sequence: word64(e.value[8:]), pairs: make([]pair, len(entries))}
	for i, e := range entries {
		if e.flags != 0 {
			return bucket{}, fmt.Errorf("entry %q is a bucket", clip(e.key))
		}
		b.pairs[i] = e.pair
	}
	return b, nil
}

// readFreelist checks the list of free pages, where there is one: bbolt hands out what is on it.
func (im *image) readFreelist() error {
	if im.freelist == noFreelist {
		return nil
	}
	p, err := im.page(im.freelist)
	if err != nil {
		return err
	}
	count, from := uint64(p.count), pageHeader
	if p.count == 0xFFFF { // too many for the field: the first entry is the count
		count, from = word64(p.data[pageHeader:]), pageHeader+8
	}
	ids, ok := slice(p.data, from, int(min(count, maxPages))*8)
	if p.flags != freelistPage || !ok {
		return fmt.Errorf("page %d is no list of free pages", im.freelist)
	}
	for ; len(ids) > 0; ids = ids[8:] {
		id := word64(ids)
		if id < 2 || id >= im.pages || im.seen[id] {
			return fmt.Errorf("page %d is in use and said to be free", id)
		}
		im.seen[id] = true
	}
	return nil
}

// slice is b[at:at+n], and whether there is such a thing.
func slice(b []byte, at, n int) ([]byte, bool) {
	if at < 0 || n < 0 || at > len(b) || n > len(b)-at {
		return nil, false
	}
	return b[at : at+n : at+n], true
}

// clip bounds what an error quotes of a damaged file.
func clip(b []byte) []byte { return b[:min(len(b), 40)] }

func word16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func word32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func word64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }
