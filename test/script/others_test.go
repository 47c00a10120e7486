// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/nft"
)

// chain makes a chain of another program that drops what is forwarded, until the script ends: `chain TABLE NAME`.
func (h *host) chain(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: chain TABLE NAME")
	}
	kerneltest.Clear(h.t, args[0])
	conn, err := nft.Dial(nft.Config{})
	ts.Check(err)
	defer conn.Close()
	table := nft.TableID{Family: nft.IPv4, Name: args[0]}
	var tx nft.Tx
	tx.AddTable(nft.Table{TableID: table})
	tx.AddChain(&nft.Chain{Table: table, Name: args[1], Hook: nft.Forward, Type: nft.Filter, Policy: nft.PolicyDrop})
	ts.Check(conn.Run(context.Background(), &tx))
}

// answer serves fixed answers at a socket, as another program would, until the script ends: `answer SOCKET PATH TEXT [PATH TEXT...]`.
func answer(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || len(args)%2 != 1 || neg {
		ts.Fatalf("usage: answer SOCKET PATH TEXT [PATH TEXT...]")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "unix", ts.MkAbs(args[0]))
	ts.Check(err)
	mux := http.NewServeMux()
	for i := 1; i < len(args); i += 2 {
		text := args[i+1]
		mux.HandleFunc(args[i], func(w http.ResponseWriter, _ *http.Request) { _, _ = strings.NewReader(text).WriteTo(w) })
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(ln)
	}()
	ts.Defer(func() { _ = srv.Close(); <-ended })
}
