// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// method answers one call of the protocol: the request's body becomes the answer.
type method func(ctx context.Context, body []byte) (any, error)

// with makes a method of a function with a typed request.
func with[Request any](f func(ctx context.Context, r Request) (any, error)) method {
	return func(ctx context.Context, body []byte) (any, error) {
		var r Request
		// Fields that we do not know are passed over: each version of Docker may have more of them.
		dec := json.NewDecoder(bytes.NewReader(body))
		if err := dec.Decode(&r); err != nil && !errors.Is(err, io.EOF) {
			return nil, cnm.Errorf(cnm.Invalid, "the request is not what the protocol says: %w", err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return nil, cnm.Errorf(cnm.Invalid, "the request goes on after its end")
		}
		return f(ctx, r)
	}
}

// answering makes a method that always answers the same.
func answering(answer any) method {
	return func(context.Context, []byte) (any, error) { return answer, nil }
}

// failure is the answer to what cannot be done: drivers have Err, address managers Error.
type failure struct {
	Err   string
	Error string
}

// ServeHTTP answers one call. What goes wrong is an answer too, with Docker's word for it: a status other than 200 would have
// Docker take the method for missing, or hide the reason.
func (p *Plugin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	do, ok := p.methods[name]
	if !ok {
		p.write(w, http.StatusNotFound, failed(cnm.Errorf(cnm.Unsupported, "method %.80q is unknown to this plugin", name)))
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		p.write(w, http.StatusMethodNotAllowed, failed(cnm.Errorf(cnm.Invalid, "%s is called with POST, not %.10q", name, r.Method)))
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
	var answer any
	if err == nil {
		answer, err = do(ctx, body)
	}
	if err != nil {
		p.log.WarnContext(ctx, "docker call", slog.String("method", name), slog.String("error", err.Error()))
		answer = failed(err)
	} else {
		p.log.DebugContext(ctx, "docker call", slog.String("method", name), slog.Duration("took", time.Since(began)))
	}
	p.write(w, http.StatusOK, answer)
}

func failed(err error) failure { return failure{Err: err.Error(), Error: err.Error()} }

func (p *Plugin) write(w http.ResponseWriter, status int, answer any) {
	data, err := json.Marshal(answer)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"Err":"the answer cannot be written"}`)
		p.log.Error("docker answer", slog.String("error", err.Error()))
	}
	w.Header().Set("Content-Type", "application/vnd.docker.plugins.v1.2+json")
	w.WriteHeader(status)
	if _, err := w.Write(data); err != nil {
		p.log.Debug("docker went away", slog.String("error", err.Error()))
	}
}

// nothing is the answer that says no more than that it is done.
type nothing struct{}

// table is every method we answer.
func (p *Plugin) table() map[string]method {
	return map[string]method{
		"Plugin.Activate":                           answering(activation{Implements: []string{"NetworkDriver", "IpamDriver"}}),
		"NetworkDriver.GetCapabilities":             answering(capabilities{Scope: "local", ConnectivityScope: "local"}),
		"IpamDriver.GetCapabilities":                answering(ipamCapabilities{}),
		"IpamDriver.GetDefaultAddressSpaces":        answering(addressSpaces{localSpace, globalSpace}),
		"IpamDriver.RequestPool":                    with(p.requestPool),
		"IpamDriver.ReleasePool":                    with(p.releasePool),
		"IpamDriver.RequestAddress":                 with(p.requestAddress),
		"IpamDriver.ReleaseAddress":                 with(p.releaseAddress),
		"NetworkDriver.CreateNetwork":               with(p.createNetwork),
		"NetworkDriver.DeleteNetwork":               with(p.deleteNetwork),
		"NetworkDriver.AllocateNetwork":             with(p.allocateNetwork),
		"NetworkDriver.FreeNetwork":                 answering(nothing{}),
		"NetworkDriver.CreateEndpoint":              with(p.createEndpoint),
		"NetworkDriver.DeleteEndpoint":              with(p.deleteEndpoint),
		"NetworkDriver.EndpointOperInfo":            with(p.endpointOperInfo),
		"NetworkDriver.Join":                        with(p.join),
		"NetworkDriver.Leave":                       with(p.leave),
		"NetworkDriver.ProgramExternalConnectivity": with(p.programExternalConnectivity),
		"NetworkDriver.RevokeExternalConnectivity":  with(p.revokeExternalConnectivity),
		"NetworkDriver.DiscoverNew":                 answering(nothing{}),
		"NetworkDriver.DiscoverDelete":              answering(nothing{}),
	}
}
