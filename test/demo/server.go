// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/libnetwork/cnm/test/probe"
	"github.com/libnetwork/cnm/test/table"
)

// Ports of the servers inside of sandboxes.
const (
	echoPort   = 7
	webPort    = 80
	hiddenPort = 81 // a second web server that nothing publishes
)

// readyText begins what the server prints when it can be asked, and pageText its page. The number of its process follows.
const (
	readyText = "ready: process "
	pageText  = "served by process "
)

// requestLine is what the server prints of a request.
func requestLine(path string, from netip.Addr) string {
	return "request for " + path + " from " + from.String()
}

// serverMain is the program in a sandbox: two web servers and an echo server, until its input ends.
func serverMain() int {
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo server:", err)
		return table.StatusFailed
	}
	return 0
}

// serve serves until in ends. A line of out is a request.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var lc net.ListenConfig
	listen := func(port uint16) (net.Listener, error) {
		return lc.Listen(ctx, "tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
	}
	echo, err := listen(echoPort)
	if err != nil {
		return err
	}
	defer echo.Close()
	go probe.AcceptAll(echo, func(conn net.Conn) { probe.Pour(conn, conn) })
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: page(out)}
	defer srv.Close()
	for _, port := range []uint16{webPort, hiddenPort} {
		ln, err := listen(port)
		if err != nil {
			return err
		}
		go func() {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				fmt.Fprintln(out, "stopped serving:", err)
			}
		}()
	}
	fmt.Fprintf(out, "%s%d\n", readyText, os.Getpid())
	_, err = io.Copy(io.Discard, in)
	return err
}

// page tells which process answers and to whom; the line about it is out before the answer is.
func page(out io.Writer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(out, requestLine(r.URL.Path, from.Addr().Unmap()))
		fmt.Fprintf(w, "%s%d", pageText, os.Getpid())
	}
}
