// SPDX-License-Identifier: Apache-2.0

package bolt_test

import (
	"strconv"
	"testing"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/store/bolt"
	"github.com/libnetwork/cnm/store/storetest"
)

// BenchmarkPutAttach is the commit of one attach, an endpoint and its join in the boot file, beside so many others.
func BenchmarkPutAttach(b *testing.B) {
	for _, others := range []int{0, 100, 1500} {
		b.Run(strconv.Itoa(others), func(b *testing.B) {
			s := openBench(b)
			r := attachment()
			for range others {
				putBench(b, s, r())
			}
			put := r()
			b.ReportAllocs()
			for b.Loop() {
				putBench(b, s, put)
			}
		})
	}
}

// BenchmarkAttachDetach puts and drops fresh records beside 1,500 others.
func BenchmarkAttachDetach(b *testing.B) {
	s := openBench(b)
	r := attachment()
	for range 1500 {
		putBench(b, s, r())
	}
	b.ReportAllocs()
	for b.Loop() {
		put := r()
		putBench(b, s, put)
		id := []cnm.EndpointID{put.Endpoints[0].ID}
		if err := s.Drop(b.Context(), cnm.Keys{Endpoints: id, Joins: id}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPutNetwork is a change of the durable file: it measures the disk.
func BenchmarkPutNetwork(b *testing.B) {
	s := openBench(b)
	r := cnm.Records{Networks: storetest.Sample(1, true).Networks}
	for b.Loop() {
		putBench(b, s, r)
	}
}

// BenchmarkOpenLoad is a start with 1,500 endpoints.
func BenchmarkOpenLoad(b *testing.B) {
	c := newConfig(b)
	s := openBenchAt(b, c)
	r := attachment()
	for range 1500 {
		putBench(b, s, r())
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := openBenchAt(b, c)
		if _, err := s.Load(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// attachment returns a maker of records as an attach commits them, each with a random identifier.
func attachment() func() cnm.Records {
	sample := storetest.Sample(1, false)
	return func() cnm.Records {
		ep, join := sample.Endpoints[0], sample.Joins[0]
		ep.ID = cnm.NewEndpointID()
		join.Endpoint = ep.ID
		return cnm.Records{Endpoints: []cnm.Endpoint{ep}, Joins: []cnm.Join{join}}
	}
}

func openBench(b *testing.B) *bolt.Store { return openBenchAt(b, newConfig(b)) }

func openBenchAt(b *testing.B, c bolt.Config) *bolt.Store {
	s, err := bolt.Open(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func putBench(b *testing.B, s *bolt.Store, r cnm.Records) {
	if err := s.Put(b.Context(), r); err != nil {
		b.Fatal(err)
	}
}
