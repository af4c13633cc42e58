// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// live is what the plugin remembers of the attachments of this network
// namespace.
type live struct {
	store *store.Store
	store.Listing
}

// locked opens the store for a call that writes, when no other call does.
func (fw *Engine) locked() (l live, unlock func(), err error) {
	s, err := store.Open(fw.dataDir)
	if err != nil {
		return live{}, nil, err
	}
	if unlock, err = s.Lock(); err != nil {
		return live{}, nil, err
	}
	return fw.remember(s), unlock, nil
}

// lockedFor is locked for a call that does something for an attachment. done says
// that another call has done it; then nothing is listed.
func (fw *Engine) lockedFor(verb string, a policy.Attachment) (l live, unlock func(), done bool, err error) {
	s, err := store.Open(fw.dataDir)
	if err != nil {
		return live{}, nil, false, err
	}
	if unlock, done, err = s.LockFor(verb, a); err != nil || done {
		return live{store: s}, unlock, done, err
	}
	return fw.remember(s), unlock, false, nil
}

// remember lists the records, and tells of files that are none.
func (fw *Engine) remember(s *store.Store) live {
	l := live{s, s.List()}
	fw.warn(l.Problems...)
	return l
}

// of returns the entries of an attachment. It has one, or two where a call died
// while it put a changed record in the place of the former, or moves it to
// another backend.
func (l live) of(a policy.Attachment) []store.Entry {
	var own []store.Entry
	for i, key := 0, keyOf(a); i < len(l.Entries); i++ {
		if l.Entries[i].Key == key {
			own = append(own, l.Entries[i])
		}
	}
	return own
}

func keyOf(a policy.Attachment) string { return store.Key(a.Network, a.ContainerID, a.IfName) }

// with returns, by place, the rule sets of all bridges in use, and of some
// attachments. What their configuration says of their network's bridge holds for
// the containers that were attached under a former one.
func (l live) with(added ...policy.Attachment) policy.RuleSets {
	// Of a thousand containers most say the same of their bridge.
	all := append(make([]policy.Attachment, 0, len(l.Entries)+len(added)), added...)
	first := make(map[string]int, len(l.Entries)/2) // of a bridge's, in all
	keys := make([]string, len(added))
	for i, a := range added {
		keys[i] = keyOf(a)
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		if slices.Contains(keys, e.Key) || slices.ContainsFunc(added, func(a policy.Attachment) bool { return supersedes(a, e) }) {
			continue
		}
		b := &e.Attachment
		for _, a := range added {
			if ofSameNetwork(a, e) {
				b = underPolicyOf(a, *b)
			}
		}
		n, seen := first[b.Bridge]
		if !seen {
			first[b.Bridge] = len(all)
		}
		if !seen || !saysAs(&all[n], b) {
			all = append(all, *b)
		}
	}
	return policy.ByDriver(all, added)
}

// saysAs reports whether two attachments say the same of one bridge.
func saysAs(a, b *policy.Attachment) bool {
	return a.Backend == b.Backend && a.IngressPolicy == b.IngressPolicy &&
		a.PublishedPorts == b.PublishedPorts && a.Families() == b.Families() &&
		(len(a.Addresses) > 0) == (len(b.Addresses) > 0)
}

// before returns what the records asked for, of some bridges, until now.
func (l live) before(bridges []string) policy.RuleSet {
	var all []policy.Attachment
	for _, e := range l.Entries {
		if slices.Contains(bridges, e.Attachment.Bridge) {
			all = append(all, e.Attachment)
		}
	}
	return policy.Desired(all...)
}

func underPolicyOf(a, b policy.Attachment) *policy.Attachment {
	b.IngressPolicy, b.PublishedPorts = a.IngressPolicy, a.PublishedPorts
	return &b
}

func ofSameNetwork(a policy.Attachment, e *store.Entry) bool {
	return e.Attachment.Bridge == a.Bridge && e.NetworkKey == store.NetworkKey(a.Network) // a hash, asked last
}

// convert rewrites the records of an attachment's network that still say its
// former policy. A call that dies meanwhile leaves some of each; then the
// stricter holds.
func (l live) convert(a policy.Attachment) error {
	var errs []error
	key := keyOf(a)
	for _, e := range l.Entries {
		b := &e.Attachment
		if e.Key == key || !ofSameNetwork(a, &e) || b.IngressPolicy == a.IngressPolicy && b.PublishedPorts == a.PublishedPorts {
			continue
		}
		whole, err := l.store.Read(e)
		if err == nil {
			whole.IngressPolicy, whole.PublishedPorts = a.IngressPolicy, a.PublishedPorts
			err = l.store.Put(whole, []store.Entry{e})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// inUse reports whether anybody is left on a bridge: an attachment among the
// entries, or a port that is neither among those that go nor remembered as
// leaving. Containers of an earlier plugin have no record.
func (l live) inUse(bridge string, entries []store.Entry, going []string) (bool, error) {
	if slices.ContainsFunc(entries, func(e store.Entry) bool { return e.Attachment.Bridge == bridge }) {
		return true, nil
	}
	found, err := link.ByName(bridge)
	if errors.Is(err, link.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ports, err := link.Ports(found)
	return slices.ContainsFunc(ports, func(p link.Link) bool {
		return !slices.Contains(going, p.Name) && !slices.Contains(l.Leaving, p.Index)
	}), err
}

// forgetLeaving forgets the leaving ports that are gone, and one that is in use
// again.
func (l live) forgetLeaving(again string) error {
	if len(l.Leaving) == 0 {
		return nil
	}
	used, err := link.Existing([]string{again})
	errs := []error{err}
	for _, index := range l.Leaving {
		exists, err := link.ExistsIndex(index)
		if err == nil && (!exists || used[again] == index) {
			err = l.store.ForgetLeaving(index)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
