// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// stateMax bounds what is read of a runtime.
const stateMax = 4 << 20

// state is what a runtime tells a hook of the container. What we do not need is not read: runtimes add fields of their own.
type state struct {
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	PID         int               `json:"pid"` // 0 when the process is gone
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations"`
	hostname    string            // of config.json
	known       bool              // the annotations are all there are
}

// readState reads the state. A runtime need not put the annotations into it: then they are those of the bundle, if that is still there.
func readState(in io.Reader) (state, error) {
	var s state
	if err := json.NewDecoder(io.LimitReader(in, stateMax)).Decode(&s); err != nil {
		return s, cnm.FieldErrorf(cnm.Invalid, "state", "the container's state on standard input is no JSON object: %w", err)
	}
	if s.ID == "" {
		return s, cnm.FieldErrorf(cnm.Invalid, "state", "the container's state on standard input has no id")
	}
	var config struct {
		Hostname    string            `json:"hostname"`
		Annotations map[string]string `json:"annotations"`
	}
	s.known = len(s.Annotations) > 0
	if !filepath.IsAbs(s.Bundle) {
		return s, nil
	}
	data, err := os.ReadFile(filepath.Join(s.Bundle, configName))
	if err == nil && json.Unmarshal(data, &config) == nil { // else the state alone has to do
		s.hostname, s.known = config.Hostname, true
		if len(s.Annotations) == 0 {
			s.Annotations = config.Annotations
		}
	}
	return s, nil
}

// labels are by which a sandbox is known to be this container's.
func (s *state) labels() map[string]string {
	return map[string]string{Prefix + "container": s.ID, Prefix + "bundle": s.Bundle}
}

// conditions are the labels as a caller of the API writes them.
func (s *state) conditions() []string {
	return []string{Prefix + "container=" + s.ID, Prefix + "bundle=" + s.Bundle}
}

// sandboxName is the name of the container's sandbox unless an annotation gives another: the container's id where that can be a name, the first
// twelve digits of an id in digits alone, as engines show it, else what of it can be in a name with a sum of all.
func sandboxName(id string) string {
	if fit(id) {
		return id
	}
	const shown, most, digits = 12, 50, 8
	if len(id) > shown && strings.Trim(id, "0123456789abcdef") == "" {
		return id[:shown]
	}
	fit := strings.Map(func(r rune) rune {
		if !fit("a" + string(r)) {
			return '-'
		}
		return r
	}, id)
	sum := sha256.Sum256([]byte(id))
	return "c" + strings.TrimLeft(fit[:min(len(fit), most)], "-_.") + "-" + hex.EncodeToString(sum[:])[:digits]
}
