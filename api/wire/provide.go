// SPDX-License-Identifier: Apache-2.0

package wire

import cnm "github.com/libnetwork/cnm"

// Provide asks for a sandbox that a process can be started in: on networks, with ports and name files, in one step, all of
// it or nothing.
type Provide struct {
	SandboxCreate
	Attach []ProvideAttach `json:"attach,omitempty"` // joined in this order
	// Publish are ports of the endpoints that hold the default route, per family, once all are joined.
	Publish []string `json:"publish,omitempty"`
}

// ProvideAttach asks for the sandbox to be on a network. An absent name is the sandbox's.
type ProvideAttach struct {
	Network string `json:"network"`
	Name    string `json:"name,omitempty"`
	EndpointSettings
	JoinSettings
}

// Specs is the request in the model's values; the caller sets the networks. Errors are of kind [cnm.Invalid] and name the field.
func (r *Provide) Specs() (sb cnm.SandboxSpec, on []cnm.AttachSpec, publish []cnm.PortSpec, err error) {
	if sb, err = r.Spec(); err != nil {
		return sb, nil, nil, err
	}
	for i := range r.Attach {
		a := &r.Attach[i]
		ep, err := a.spec(a.Name)
		if err != nil {
			return sb, nil, nil, err
		}
		on = append(on, cnm.AttachSpec{Endpoint: ep, Join: a.JoinSettings.Spec()})
	}
	publish, err = ParsePorts(r.Publish)
	return sb, on, publish, err
}

// Provided is a sandbox with what is in it, and the files that take the place of those in a process's /etc.
type Provided struct {
	Sandbox Sandbox   `json:"sandbox"`
	Files   NameFiles `json:"files"`
}

// FromProvided shows what was provided.
func FromProvided(sb *cnm.Sandbox, at []cnm.Attachment, files cnm.NameFiles) Provided {
	eps := make([]Endpoint, 0, len(at))
	for i := range at {
		eps = append(eps, FromAttachment(&at[i]))
	}
	return Provided{Sandbox: FromSandbox(sb, eps), Files: NameFiles(files)}
}
