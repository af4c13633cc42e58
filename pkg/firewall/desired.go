// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// desired returns what each driver of this host must hold. See records.desired.
func (fw *Engine) desired(r records, added, given []policy.Attachment) policy.RuleSets {
	backends := backendsOf(r.Entries)
	for _, a := range added {
		backends = append(backends, a.Backend)
	}
	return fw.drivers.onHost(r.desired(added, given), needsTable(backends))
}

// needsTable reports whether any of some backends cannot do without the table.
func needsTable(backends []policy.Backend) bool {
	return slices.ContainsFunc(backends, func(b policy.Backend) bool { return b.Needs(policy.Table) })
}

// desired returns what each driver must hold: isolation for every bridge that a
// record or an added attachment is on, and what the added and the given
// attachments may send. It is the only place that makes rules of records.
//
// Of most records the name suffices, so that a call reads no file but its own.
// given are records that were read, or whose name is to be taken for the whole.
func (r records) desired(added, given []policy.Attachment) policy.RuleSets {
	accepted := slices.Concat(added, given)
	return policy.ByDriver(slices.Concat(accepted, r.others(added)), accepted)
}

// others returns what the records say, less those that the added attachments
// replace. What the configuration of an added attachment says of its network's
// bridge holds for the containers that were added under a previous one, too.
func (r records) others(added []policy.Attachment) []policy.Attachment {
	all := make([]policy.Attachment, 0, len(r.Entries))
	first := make(map[string]int, len(r.Entries)/2) // of a bridge's, in all
	keys := keysOf(added)
	for i := range r.Entries {
		e := &r.Entries[i]
		if isReplaced(e, added, keys) {
			continue
		}
		b := r.withPolicyOf(added, e)
		// Of a thousand containers most say the same of their bridge.
		n, seen := first[b.Bridge]
		if !seen {
			first[b.Bridge] = len(all)
		}
		if !seen || !agree(&all[n], b) {
			all = append(all, *b)
		}
	}
	return all
}

func keysOf(all []policy.Attachment) []string {
	keys := make([]string, len(all))
	for i, a := range all {
		keys[i] = keyOf(a)
	}
	return keys
}

// isReplaced reports whether added attachments, which have some keys, stand for
// an entry: the entry's own, or one that speaks for its adopted bridge.
func isReplaced(e *store.Entry, added []policy.Attachment, keys []string) bool {
	return slices.Contains(keys, e.Key) ||
		slices.ContainsFunc(added, func(a policy.Attachment) bool { return supersedes(a, e) })
}

// withPolicyOf returns the attachment of an entry under the policy that the added
// ones have on its network. If that is isolated by now, the port counts, which only the
// record tells.
func (r records) withPolicyOf(added []policy.Attachment, e *store.Entry) *policy.Attachment {
	b := &e.Attachment
	for _, a := range added {
		if isSameNetwork(a, e) && changes(a, e) {
			changed := *b
			changed.IngressPolicy, changed.PublishedPorts = a.IngressPolicy, a.PublishedPorts
			if a.IngressPolicy.Separates() {
				whole, _ := r.store.Read(*e) // which convert tells of, where it cannot be read
				changed.Port = whole.Port
			}
			b = &changed
		}
	}
	return b
}

// changes reports whether what an attachment says of its network's policy is news. It
// is none where several entries of the conflist name policies, and this is one of them.
func changes(a policy.Attachment, e *store.Entry) bool {
	known := &e.Attachment
	if len(known.Stated) > 0 && slices.Contains(known.Stated, a.IngressPolicy) {
		return false
	}
	return known.IngressPolicy != a.IngressPolicy || known.PublishedPorts != a.PublishedPorts
}

func isSameNetwork(a policy.Attachment, e *store.Entry) bool {
	return e.Attachment.Bridge == a.Bridge && e.NetworkKey == store.NetworkKey(a.Network) // a hash, asked last
}

// agree reports whether two attachments say the same of one bridge.
func agree(a, b *policy.Attachment) bool {
	return a.Backend == b.Backend && slices.Equal(a.Interfaces, b.Interfaces) &&
		!a.IngressPolicy.Separates() && a.IngressPolicy == b.IngressPolicy &&
		a.PublishedPorts == b.PublishedPorts && a.Families() == b.Families() &&
		(len(a.Addresses) > 0) == (len(b.Addresses) > 0)
}

// before returns what the records asked for until now: of the added attachments, and
// of their bridges.
func (r records) before(added []policy.Attachment) policy.RuleSet {
	var all []policy.Attachment
	bridges, keys := bridgesOf(added), keysOf(added)
	for _, e := range r.Entries {
		if slices.Contains(bridges, e.Attachment.Bridge) || slices.Contains(keys, e.Key) {
			all = append(all, e.Attachment)
		}
	}
	return policy.Desired(all...)
}

// bridgesOf returns the bridges that attachments are on.
func bridgesOf(all []policy.Attachment) []string {
	var names []string
	for _, a := range all {
		if a.Bridge != "" {
			names = append(names, a.Bridge)
		}
	}
	return names
}
