// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// statusError gives an error a status of its own, where HTTP is more exact than the table of kinds.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// bodyError says why a body could not be read.
func bodyError(err error) error {
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &statusError{http.StatusRequestEntityTooLarge, cnm.Errorf(cnm.Invalid, "the body is larger than %d bytes", big.Limit)}
	}
	return cnm.Errorf(cnm.Unavailable, "the body did not come whole: %w", err)
}

// parseQuery is url.ParseQuery with an error of ours.
func parseQuery(raw string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, cnm.Errorf(cnm.Invalid, "query: %w", err)
	}
	return q, nil
}

// fail answers with an error. Where a body was left unread the connection ends with the answer: what would follow on it
// is not waited for.
func (s *Server) fail(w http.ResponseWriter, err error, unread bool) {
	status := cnm.KindOf(err).Code().HTTP
	if own, ok := errors.AsType[*statusError](err); ok {
		status = own.status
	}
	if unread {
		w.Header().Set("Connection", "close")
	}
	s.write(w, status, wire.FromError(err))
}

// reply answers with what a handler gave: nothing, text or JSON.
func (s *Server) reply(w http.ResponseWriter, answer any) {
	switch a := answer.(type) {
	case nil:
		w.WriteHeader(http.StatusNoContent)
	case text:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(a.status)
		s.logWrite(io.WriteString(w, a.body))
	default:
		s.write(w, http.StatusOK, a)
	}
}

// write sends JSON. A reader that does not read is given up after thirty seconds.
func (s *Server) write(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		s.log.Error("answer has no JSON", slog.String("err", err.Error()))
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		s.log.Debug("write deadline", slog.String("err", err.Error()))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	s.logWrite(w.Write(append(data, '\n')))
}

// logWrite notes a caller that went away before its answer.
func (s *Server) logWrite(_ int, err error) {
	if err != nil {
		s.log.Debug("answer not taken", slog.String("err", err.Error()))
	}
}
