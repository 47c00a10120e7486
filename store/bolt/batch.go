// SPDX-License-Identifier: Apache-2.0

package bolt

import "github.com/libnetwork/cnm"

// batch is the changes of one call by lifetime, at most one a record.
type batch struct {
	durable, boot []change
	at            map[key]int // where a record's change is in its list
}

// add appends a change, or replaces an earlier one of the same record.
func (b *batch) add(to *[]change, c change) {
	if i, ok := b.at[c.key]; ok {
		(*to)[i] = c
		return
	}
	b.at[c.key] = len(*to)
	*to = append(*to, c)
}

// put encodes a record and adds it.
func (b *batch) put(to *[]change, k key, record any) error {
	c, err := encode(k, record)
	if err != nil {
		return err
	}
	b.add(to, c)
	return nil
}

// encodeAll makes the changes that put r.
func encodeAll(r cnm.Records) (batch, error) {
	b := batch{at: make(map[key]int, len(r.Networks)+len(r.Endpoints)+len(r.Sandboxes)+len(r.Joins))}
	for i := range r.Networks {
		if err := b.put(&b.durable, key{string(r.Networks[i].ID), network}, &r.Networks[i]); err != nil {
			return batch{}, err
		}
	}
	for i := range r.Endpoints {
		to := &b.boot
		if r.Endpoints[i].Keep {
			to = &b.durable
		}
		if err := b.put(to, key{string(r.Endpoints[i].ID), endpoint}, &r.Endpoints[i]); err != nil {
			return batch{}, err
		}
	}
	for i := range r.Sandboxes {
		if err := b.put(&b.boot, key{string(r.Sandboxes[i].ID), sandbox}, &r.Sandboxes[i]); err != nil {
			return batch{}, err
		}
	}
	for i := range r.Joins {
		if err := b.put(&b.boot, key{string(r.Joins[i].Endpoint), join}, &r.Joins[i]); err != nil {
			return batch{}, err
		}
	}
	return b, nil
}

// removals makes the changes that drop k. An endpoint that is recorded nowhere needs none.
func (s *Store) removals(k cnm.Keys) batch {
	b := batch{at: map[key]int{}}
	for _, id := range k.Networks {
		b.add(&b.durable, change{key: key{string(id), network}})
	}
	for _, id := range k.Sandboxes {
		b.add(&b.boot, change{key: key{string(id), sandbox}})
	}
	for _, id := range k.Joins {
		b.add(&b.boot, change{key: key{string(id), join}})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range k.Endpoints {
		switch p, known := s.lifetimes[id]; {
		case known && p.keep:
			b.add(&b.durable, change{key: key{string(id), endpoint}})
		case known:
			b.add(&b.boot, change{key: key{string(id), endpoint}})
		}
	}
	return b
}
