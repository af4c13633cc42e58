// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// A dropCounter is a driver of a place that drops packets, and counts them.
type dropCounter interface {
	Drops() ([]policy.Drop, error)
}

// Drops returns what the isolation dropped since its rules were made, in the order of
// interfaces. It takes no lock and writes nothing. After an error it returns what it knows.
func (fw *Engine) Drops() ([]policy.Drop, error) {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return nil, err
	}
	holders := []policy.DriverName{policy.Table}
	if slices.Contains(backendsOf(s.List().Entries), policy.IPTables) {
		holders = append(holders, policy.Filter)
	}
	var all []policy.Drop
	var errs []error
	for _, name := range holders {
		if counter, counts := fw.drivers.all[name].(dropCounter); counts {
			drops, err := counter.Drops()
			all, errs = append(all, drops...), append(errs, err)
		}
	}
	return summed(all), errors.Join(errs...)
}

// DropKey is what tells one count from another.
type DropKey struct {
	From, To  string
	Reason    policy.DropReason
	CountedBy policy.CountedBy
}

// KeyOf returns the key of a count.
func KeyOf(d policy.Drop) DropKey { return DropKey{d.From, d.To, d.Reason, d.CountedBy} }

// summed makes counts of one key one, and sorts them: several rules may name the same
// interfaces.
func summed(all []policy.Drop) []policy.Drop {
	sums := map[DropKey]policy.Drop{}
	for _, d := range all {
		sum := sums[KeyOf(d)]
		d.Packets, d.Bytes = d.Packets+sum.Packets, d.Bytes+sum.Bytes
		sums[KeyOf(d)] = d
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b policy.Drop) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.CountedBy, b.CountedBy))
	})
}

// Holder is whose an interface of the host is.
type Holder struct {
	Networks  []string
	Container string // whose port it is
}

// Holders returns whose the interfaces are that records name: bridges, gateways and ports.
// The error names records that cannot be read.
func (fw *Engine) Holders() (map[string]Holder, error) {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return nil, err
	}
	r := records{s, s.List(), fw.ports.links}
	all, err := r.attachments()
	holders := map[string]Holder{}
	for _, a := range all {
		for _, name := range append(a.Inbound(), a.Port) {
			holders[name] = holders[name].with(a, name == a.Port)
		}
	}
	delete(holders, "")
	return holders, err
}

func (p Holder) with(a policy.Attachment, isPort bool) Holder {
	if !slices.Contains(p.Networks, a.Network) {
		p.Networks = append(slices.Clone(p.Networks), a.Network)
		slices.Sort(p.Networks)
	}
	if isPort {
		p.Container = a.ContainerID
	}
	return p
}
