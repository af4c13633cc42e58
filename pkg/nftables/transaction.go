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
	element element // that is added or deleted, if it is about one
}

// transaction is a list of changes that are made all or none.
type transaction struct {
	changes []change
	err     error // why there can be none
}

func (p *transaction) add(why string, r request) {
	p.changes = append(p.changes, change{why: why, request: r})
}

func (p transaction) requests() []request {
	list := make([]request, len(p.changes))
	for i, c := range p.changes {
		list[i] = c.request
	}
	return list
}

// objects returns what a plan makes, and what it deletes.
func (p transaction) objects() (added, removed []string) {
	for _, c := range p.changes {
		switch c.request.kind {
		case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_NEWSETELEM:
			added = append(added, c.request.object)
		default:
			removed = append(removed, c.request.object)
		}
	}
	return added, removed
}

// refused says which change the kernel did not take.
func (p transaction) refused(err error) error {
	var r refusal
	if errors.As(err, &r) && r.index >= 0 && r.index < len(p.changes) {
		return fmt.Errorf("writing table inet %s: %s: %w", tableName, p.changes[r.index].why, err)
	}
	return fmt.Errorf("writing table inet %s: %w", tableName, err)
}

// maxAttempts bounds how often a reading or writing is tried again that another
// program came in between of.
const maxAttempts = 100

// maxAttemptsAlone is how often a plan is tried again that the kernel refuses while
// no other program writes.
const maxAttemptsAlone = 5

// commit commits a plan, and tells of it.
func (s *Snapshot) commit(planFor func() (transaction, error)) error {
	began := time.Now()
	p, err := s.commitWithRetries(planFor)
	journal.Tell("table inet "+tableName, began, p.objects, err)
	return err
}

// commitWithRetries returns what it committed, or with an error what it could not. A plan
// that lost against another program is made anew.
func (s *Snapshot) commitWithRetries(planFor func() (transaction, error)) (done transaction, err error) {
	for attempt := range maxAttempts {
		p, err := planFor()
		if err != nil || len(p.changes) == 0 {
			return done, err
		}
		s.rememberPrevious(p)
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
		if attempt >= maxAttemptsAlone && s.table.generation == former && err != nil {
			return p, p.refused(err)
		}
	}
	return done, ErrBusy
}

// rememberPrevious remembers how members were before the first write. It is done ahead of
// it, for of a write that is never answered nobody knows whether it was done.
func (s *Snapshot) rememberPrevious(p transaction) {
	for _, c := range p.changes {
		k := elementKey{c.element.set, c.element.key}
		if _, noted := s.previous[k]; !noted && k.set != "" {
			s.previous[k] = !c.element.present
		}
	}
}

func (s *Snapshot) reread() error {
	t, err := s.conn.read()
	if err != nil {
		return queryError(err)
	}
	s.table = t
	return nil
}
