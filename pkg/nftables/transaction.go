// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// change is one step from the table that is to the table that must be.
type change struct {
	why     string // what is wrong, with the object's name
	request request
	member  member // that is added or deleted, if it is about one
}

// plan is a list of changes that are made all or none.
type plan struct {
	changes []change
	err     error // why there can be none
}

func (p *plan) add(why string, r request) {
	p.changes = append(p.changes, change{why: why, request: r})
}

func (p plan) requests() []request {
	list := make([]request, len(p.changes))
	for i, c := range p.changes {
		list[i] = c.request
	}
	return list
}

// what returns what a plan makes, and what it deletes.
func (p plan) what() (added, removed []string) {
	for _, c := range p.changes {
		switch c.request.kind {
		case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_NEWSETELEM:
			added = append(added, c.request.what)
		default:
			removed = append(removed, c.request.what)
		}
	}
	return added, removed
}

// refused says which change the kernel did not take.
func (p plan) refused(err error) error {
	var r refusal
	if errors.As(err, &r) && r.index >= 0 && r.index < len(p.changes) {
		return fmt.Errorf("writing table inet %s: %s: %w", tableName, p.changes[r.index].why, err)
	}
	return fmt.Errorf("writing table inet %s: %w", tableName, err)
}

// attempts bounds how often a reading or writing is tried again that another
// program came in between of.
const attempts = 100

// patienceAlone is how often a plan is tried again that the kernel refuses while
// no other program writes.
const patienceAlone = 5

// make commits a plan, and tells of it.
func (s *Snapshot) make(planFor func() (plan, error)) error {
	began := time.Now()
	p, err := s.attempt(planFor)
	journal.Tell("table inet "+tableName, began, p.what, err)
	return err
}

// attempt returns what it committed, or with an error what it could not. A plan
// that lost against another program is made anew.
func (s *Snapshot) attempt(planFor func() (plan, error)) (done plan, err error) {
	for attempt := range attempts {
		p, err := planFor()
		if err != nil || len(p.changes) == 0 {
			return done, err
		}
		s.note(p)
		err = s.conn.commit(s.table.generation, p.requests())
		if err == nil {
			done.changes = append(done.changes, p.changes...)
		}
		switch {
		case err == nil && !s.table.dormant:
			return done, nil
		case err == nil || errors.Is(err, unix.ERESTART): // at once: the other one is done
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			time.Sleep(time.Duration(min(attempt, 20)) * time.Millisecond)
		default:
			return p, p.refused(err)
		}
		former := s.table.generation
		if readErr := s.reread(); readErr != nil {
			return p, readErr
		}
		// Where nobody wrote meanwhile, it is not others that keep the table busy.
		if attempt >= patienceAlone && s.table.generation == former && err != nil {
			return p, p.refused(err)
		}
	}
	return done, ErrBusy
}

// note remembers how members were before the first write. It is done ahead of
// it, for of a write that is never answered nobody knows whether it was done.
func (s *Snapshot) note(p plan) {
	for _, c := range p.changes {
		k := memberKey{c.member.set, c.member.key}
		if _, noted := s.changed[k]; !noted && k.set != "" {
			s.changed[k] = !c.member.in
		}
	}
}

func (s *Snapshot) reread() error {
	t, err := s.conn.read()
	if err != nil {
		return explained(err)
	}
	s.table = t
	return nil
}
