// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"slices"
	"sync"

	cnm "github.com/libnetwork/cnm"
)

// table is every record in memory with the indexes over them: names, endpoints by network, joins by sandbox. It is built
// from the store at the start and changed beside it. Its methods take and give values.
type table struct {
	mu sync.RWMutex // guards all fields; never held across the store or the kernel

	networks  map[cnm.NetworkID]cnm.Network
	sandboxes map[cnm.SandboxID]cnm.Sandbox
	endpoints map[cnm.EndpointID]cnm.Endpoint
	joins     map[cnm.EndpointID]cnm.Join

	networkNames  map[string]cnm.NetworkID // by folded name
	sandboxNames  map[string]cnm.SandboxID
	endpointNames map[cnm.NetworkID]map[string]cnm.EndpointID
	promised      map[promised]string // to the object of this ID, which is being renamed
	inSandbox     map[cnm.SandboxID]map[cnm.NetworkID]cnm.EndpointID
	byCookie      map[uint64]cnm.SandboxID
	byHostLink    map[string]cnm.EndpointID
	macs          map[macKey]cnm.EndpointID
}

// macKey is a MAC address on a network, which has room for one of it.
type macKey struct {
	network cnm.NetworkID
	mac     cnm.MAC
}

func newTable() *table {
	return &table{
		networks:      map[cnm.NetworkID]cnm.Network{},
		sandboxes:     map[cnm.SandboxID]cnm.Sandbox{},
		endpoints:     map[cnm.EndpointID]cnm.Endpoint{},
		joins:         map[cnm.EndpointID]cnm.Join{},
		networkNames:  map[string]cnm.NetworkID{},
		sandboxNames:  map[string]cnm.SandboxID{},
		endpointNames: map[cnm.NetworkID]map[string]cnm.EndpointID{},
		promised:      map[promised]string{},
		inSandbox:     map[cnm.SandboxID]map[cnm.NetworkID]cnm.EndpointID{},
		byCookie:      map[uint64]cnm.SandboxID{},
		byHostLink:    map[string]cnm.EndpointID{},
		macs:          map[macKey]cnm.EndpointID{},
	}
}

// put inserts or replaces records. New ones come by add, which sees to it that their names are free.
func (t *table) put(r cnm.Records) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.putLocked(r)
}

// add inserts new records, all or none: a name that is taken is an error that says by whom.
func (t *table) add(r cnm.Records) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, nw := range r.Networks {
		if old, ok := t.networks[nw.ID]; ok {
			return cnm.FieldErrorf(cnm.Exists, "id", "network %s exists: it is %q", nw.ID, old.Name)
		}
		if id, ok := t.networkNames[cnm.FoldName(nw.Name)]; ok {
			return cnm.FieldErrorf(cnm.Exists, "name", "network %q exists (%s); choose another name or remove it first", t.networks[id].Name, id[:12])
		}
	}
	for _, sb := range r.Sandboxes {
		if id, ok := t.sandboxNames[cnm.FoldName(sb.Name)]; ok {
			return cnm.FieldErrorf(cnm.Exists, "name", "sandbox %q exists (%s); choose another name or remove it first", t.sandboxes[id].Name, id[:12])
		}
		if id, ok := t.byCookie[sb.Namespace.Cookie]; ok && sb.Namespace.Cookie != 0 {
			return adoptedTwice(sb, t.sandboxes[id].Name)
		}
	}
	for _, ep := range r.Endpoints {
		if old, ok := t.endpoints[ep.ID]; ok {
			return cnm.FieldErrorf(cnm.Exists, "id", "endpoint %s exists: it is %s/%s", ep.ID, t.networks[old.Network].Name, old.Name)
		}
		if id, ok := t.endpointNames[ep.Network][cnm.FoldName(ep.Name)]; ok {
			nw := t.networks[ep.Network]
			return cnm.FieldErrorf(cnm.Exists, "name", "endpoint %s/%s exists; choose another name or remove it first", nw.Name, t.endpoints[id].Name)
		}
		if id, ok := t.macs[macKey{ep.Network, ep.MAC}]; ok && ep.MAC != (cnm.MAC{}) {
			// The network could reach only one of them.
			return cnm.FieldErrorf(cnm.Exists, "mac", "mac %s is that of endpoint %s/%s; choose another one, or leave it out", ep.MAC, t.networks[ep.Network].Name, t.endpoints[id].Name)
		}
	}
	if len(t.promised) > 0 { // the names themselves were looked at above
		if err := t.unpromised(r); err != nil {
			return err
		}
	}
	t.putLocked(r)
	return nil
}

// putLocked is put with mu held.
func (t *table) putLocked(r cnm.Records) {
	for _, nw := range r.Networks {
		deleteIf(t.networkNames, cnm.FoldName(t.networks[nw.ID].Name), nw.ID)
		t.networks[nw.ID] = nw
		t.networkNames[cnm.FoldName(nw.Name)] = nw.ID
	}
	for _, sb := range r.Sandboxes {
		deleteIf(t.sandboxNames, cnm.FoldName(t.sandboxes[sb.ID].Name), sb.ID)
		t.sandboxes[sb.ID] = sb
		t.sandboxNames[cnm.FoldName(sb.Name)] = sb.ID
		if sb.Namespace.Cookie != 0 {
			t.byCookie[sb.Namespace.Cookie] = sb.ID
		}
	}
	for _, ep := range r.Endpoints {
		deleteIf(t.endpointNames[ep.Network], cnm.FoldName(t.endpoints[ep.ID].Name), ep.ID)
		t.endpoints[ep.ID] = ep
		names := t.endpointNames[ep.Network]
		if names == nil {
			names = map[string]cnm.EndpointID{}
			t.endpointNames[ep.Network] = names
		}
		names[cnm.FoldName(ep.Name)] = ep.ID
		if ep.MAC != (cnm.MAC{}) {
			t.macs[macKey{ep.Network, ep.MAC}] = ep.ID
		}
	}
	for _, j := range r.Joins {
		t.joins[j.Endpoint] = j
		in := t.inSandbox[j.Sandbox]
		if in == nil {
			in = map[cnm.NetworkID]cnm.EndpointID{}
			t.inSandbox[j.Sandbox] = in
		}
		in[j.Network] = j.Endpoint
		if h := j.Result.Link.Host; h != "" {
			t.byHostLink[h] = j.Endpoint
		}
	}
}

// drop removes records; what is not there is passed over.
func (t *table) drop(k cnm.Keys) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range k.Joins {
		t.dropJoin(id)
	}
	for _, id := range k.Endpoints {
		if ep, ok := t.endpoints[id]; ok {
			delete(t.endpoints, id)
			deleteIf(t.endpointNames[ep.Network], cnm.FoldName(ep.Name), id)
			deleteIf(t.macs, macKey{ep.Network, ep.MAC}, id)
			if len(t.endpointNames[ep.Network]) == 0 {
				delete(t.endpointNames, ep.Network)
			}
		}
	}
	for _, id := range k.Sandboxes {
		if sb, ok := t.sandboxes[id]; ok {
			delete(t.sandboxes, id)
			deleteIf(t.sandboxNames, cnm.FoldName(sb.Name), id)
			deleteIf(t.byCookie, sb.Namespace.Cookie, id)
		}
	}
	for _, id := range k.Networks {
		if nw, ok := t.networks[id]; ok {
			delete(t.networks, id)
			deleteIf(t.networkNames, cnm.FoldName(nw.Name), id)
		}
	}
}

// dropJoin is the part of drop for one join, with mu held.
func (t *table) dropJoin(id cnm.EndpointID) {
	j, ok := t.joins[id]
	if !ok {
		return
	}
	delete(t.joins, id)
	deleteIf(t.inSandbox[j.Sandbox], j.Network, id)
	if len(t.inSandbox[j.Sandbox]) == 0 {
		delete(t.inSandbox, j.Sandbox)
	}
	deleteIf(t.byHostLink, j.Result.Link.Host, id)
}

// deleteIf takes an entry out of an index if it is that of id: records at odds with each other must not hide one another.
func deleteIf[K, ID comparable](index map[K]ID, key K, id ID) {
	if index[key] == id {
		delete(index, key)
	}
}

func (t *table) network(id cnm.NetworkID) (cnm.Network, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	nw, ok := t.networks[id]
	return nw, ok
}

func (t *table) sandbox(id cnm.SandboxID) (cnm.Sandbox, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	sb, ok := t.sandboxes[id]
	return sb, ok
}

func (t *table) sandboxNamed(name string) (cnm.Sandbox, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	sb, ok := t.sandboxes[t.sandboxNames[cnm.FoldName(name)]]
	return sb, ok
}

func (t *table) endpoint(id cnm.EndpointID) (cnm.Endpoint, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	ep, ok := t.endpoints[id]
	return ep, ok
}

// attachment is the endpoint with the records around it; without a join, those of Join and Sandbox are zero.
func (t *table) attachment(id cnm.EndpointID) (cnm.Attachment, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.attachmentLocked(id)
}

// attachmentLocked is attachment with mu held.
func (t *table) attachmentLocked(id cnm.EndpointID) (cnm.Attachment, bool) {
	ep, ok := t.endpoints[id]
	if !ok {
		return cnm.Attachment{}, false
	}
	j := t.joins[id]
	return cnm.Attachment{Network: t.networks[ep.Network], Endpoint: ep, Sandbox: t.sandboxes[j.Sandbox], Join: j}, true
}

// joined finds the endpoint by which a sandbox is on a network.
func (t *table) joined(sb cnm.SandboxID, nw cnm.NetworkID) (cnm.Attachment, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, ok := t.inSandbox[sb][nw]
	if !ok {
		return cnm.Attachment{}, false
	}
	return t.attachmentLocked(id)
}

// attachments are those of a sandbox, oldest join first.
func (t *table) attachments(id cnm.SandboxID) []cnm.Attachment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []cnm.Attachment
	for _, ep := range t.inSandbox[id] {
		if at, ok := t.attachmentLocked(ep); ok {
			all = append(all, at)
		}
	}
	slices.SortFunc(all, olderJoin)
	return all
}

// olderJoin orders attachments by when they were joined, which in one sandbox is never twice the same (see afterAll); the number
// makes the order total.
func olderJoin(a, b cnm.Attachment) int {
	return cmp.Or(a.Join.Joined.Compare(b.Join.Joined), cmp.Compare(a.Join.Number, b.Join.Number))
}

// endpointsOf are the endpoints of a network, by name.
func (t *table) endpointsOf(id cnm.NetworkID) []cnm.Endpoint {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []cnm.Endpoint
	for _, ep := range t.endpointNames[id] {
		all = append(all, t.endpoints[ep])
	}
	slices.SortFunc(all, func(a, b cnm.Endpoint) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}
