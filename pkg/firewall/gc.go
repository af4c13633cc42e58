// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// GC removes the attachments of a network, except the valid ones.
func (fw *Engine) GC(network string, valid []policy.Owner) error {
	r, unlock, err := fw.storage.orNone(fw.storage.lock())
	if err != nil {
		return err
	}
	defer unlock()

	r = fw.follow(r)
	key, keep := store.NetworkKey(network), map[string]bool{}
	for _, v := range valid {
		keep[store.Key(network, v.ContainerID, v.IfName)] = true
	}
	d := newRemoval()
	for _, e := range r.Entries {
		if e.NetworkKey == key && !keep[e.Key] {
			fw.warn(r.addTo(d, e))
		}
	}
	return fw.remove(r, d)
}
