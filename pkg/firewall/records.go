// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// records are what the store remembers of the attachments of this network namespace.
type records struct {
	store *store.Store // nil where there is no place for one
	store.Listing

	links Links
}

// storage opens the records.
type storage struct {
	dataDir string
	links   Links
	warn    func(...error)
}

// lock opens the store for a call that writes, once no other call does.
func (s storage) lock() (r records, unlock func(), err error) {
	opened, err := store.Open(s.dataDir)
	if err != nil {
		return records{}, nil, err
	}
	if unlock, err = opened.Lock(); err != nil {
		return records{}, nil, err
	}
	r = s.list(opened)
	return r, unlock, unlockAfter(r.Unlisted, unlock)
}

// unlockAfter releases the lock after an error. A call that does not know all records
// would take a bridge for one on which nobody is left.
func unlockAfter(err error, unlock func()) error {
	if err != nil {
		unlock()
	}
	return err
}

// lockFor is lock for a call that adds or deletes an attachment. done says that
// another call did the work meanwhile; then nothing is listed.
func (s storage) lockFor(verb string, a policy.Attachment) (r records, unlock func(), done bool, err error) {
	opened, err := store.Open(s.dataDir)
	if err != nil {
		return records{}, nil, false, err
	}
	if unlock, done, err = opened.LockFor(verb, a); err != nil || done {
		return records{store: opened, links: s.links}, unlock, done, err
	}
	r = s.list(opened)
	return r, unlock, false, unlockAfter(r.Unlisted, unlock)
}

// list lists the records. Files that are no records cause a warning.
func (s storage) list(opened *store.Store) records {
	r := records{opened, opened.List(), s.links}
	s.warn(r.Problems...)
	return r
}

// orNone goes on without a lock and records where there is no place for them: a
// disk that is full or read-only must not keep a container from being deleted. Where
// there may be records, and this call cannot get at them, another one can.
func (s storage) orNone(r records, unlock func(), err error) (records, func(), error) {
	if errors.Is(err, store.ErrLocked) || r.Unlisted != nil || isPassing(err) {
		return records{}, nil, err
	}
	if err != nil {
		s.warn(err)
		return records{links: s.links}, func() {}, nil
	}
	s.warn(r.forgetGone())
	return r, unlock, nil
}

// isPassing reports whether an error may be gone by the next call: the process may have no
// more descriptors, locks or memory, or the disk failed. There may be records behind it.
func isPassing(err error) bool {
	isThis := func(errno unix.Errno) bool { return errors.Is(err, errno) }
	return slices.ContainsFunc([]unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOLCK, unix.EIO}, isThis)
}

// of returns the entries of an attachment. There is one, or two after a call died
// that was replacing a changed record, or was moving it to another backend.
func (r records) of(a policy.Attachment) []store.Entry {
	key := keyOf(a)
	return r.where(func(e *store.Entry) bool { return e.Key == key })
}

// where returns the entries of which something holds. It copies no other: most calls
// are about a few of a thousand.
func (r records) where(holds func(*store.Entry) bool) []store.Entry {
	var found []store.Entry
	for i := range r.Entries {
		if holds(&r.Entries[i]) {
			found = append(found, r.Entries[i])
		}
	}
	return found
}

func keyOf(a policy.Attachment) string { return store.Key(a.Network, a.ContainerID, a.IfName) }

// attachments reads all records. The error names those that cannot be read.
func (r records) attachments() ([]policy.Attachment, error) {
	var all []policy.Attachment
	var errs []error
	for _, e := range r.Entries {
		a, err := r.store.Read(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, a)
	}
	return all, errors.Join(errs...)
}

// briefs returns all attachments as far as the names of their records tell.
func (r records) briefs() []policy.Attachment { return briefsOf(r.Entries) }

func briefsOf(entries []store.Entry) []policy.Attachment {
	var all []policy.Attachment
	for _, e := range entries {
		all = append(all, e.Attachment)
	}
	return all
}

// convert rewrites the records of an attachment's network that still have its
// previous policy. If the call dies halfway, the stricter policy holds.
func (r records) convert(a policy.Attachment) error {
	var errs []error
	key := keyOf(a)
	for _, e := range r.Entries {
		if e.Key == key || !isSameNetwork(a, &e) || !changes(a, &e) {
			continue
		}
		whole, err := r.store.Read(e)
		if err == nil {
			whole.IngressPolicy, whole.PublishedPorts, whole.Stated = a.IngressPolicy, a.PublishedPorts, a.Stated
			whole.Sources = whole.Sources.Like(a.Sources, policy.KeyIngressPolicy, policy.KeyPublishedPorts)
			err = r.store.Put(whole, []store.Entry{e})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// put records an attachment that has no record yet.
func (r *records) put(a policy.Attachment) error {
	if err := r.store.Put(a, nil); err != nil {
		return err
	}
	r.Entries = append(r.Entries, store.NewEntry(a))
	return nil
}

// with returns the records with those of added attachments.
func (r records) with(added []policy.Attachment) records {
	keys := keysOf(added)
	r.Entries = slices.DeleteFunc(slices.Clone(r.Entries), func(e store.Entry) bool { return slices.Contains(keys, e.Key) })
	for _, a := range added {
		r.Entries = append(r.Entries, store.NewEntry(a))
	}
	return r
}

// inUse reports whether anybody is left on a bridge: an attachment among the
// entries, or a container's port that is neither removed now nor remembered as
// leaving. Containers of another plugin have no record. An uplink, a tap or the veth of
// a gateway is no container.
func (r records) inUse(bridge string, entries []store.Entry, removed portSet) (bool, error) {
	if slices.ContainsFunc(entries, func(e store.Entry) bool { return e.Attachment.Bridge == bridge }) {
		return true, nil
	}
	ports, err := r.otherPorts(bridge, removed)
	return len(ports) > 0, err
}

// otherPorts returns the container ports of a bridge that are neither removed now nor
// remembered as leaving.
func (r records) otherPorts(bridge string, removed portSet) ([]link.Link, error) {
	found, err := r.links.ByName(bridge)
	if errors.Is(err, link.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ports, err := r.links.Ports(found)
	return slices.DeleteFunc(ports, func(p link.Link) bool {
		return !p.IsContainerPort() || removed.has(p) || slices.Contains(r.Leaving, p.Index)
	}), err
}
