// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// GC removes the attachments of a network but those that are valid.
func (fw *Engine) GC(network string, valid []policy.Owner) error {
	l, unlock, err := fw.evenWithout(fw.locked())
	if err != nil {
		return err
	}
	defer unlock()

	keep := map[string]bool{}
	for _, v := range valid {
		keep[store.Key(network, v.ContainerID, v.IfName)] = true
	}
	d := newDeparture()
	for _, e := range l.Entries {
		if e.NetworkKey == store.NetworkKey(network) && !keep[e.Key] {
			fw.warn(l.part(d, e))
		}
	}
	return fw.depart(l, d)
}
