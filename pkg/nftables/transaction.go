// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// transaction is a list of changes. The kernel makes all of them or none.
type transaction struct {
	changes []change
	err     error // why there can be no transaction
}

// change is one step from the table as it is to the table as it must be.
type change struct {
	why     string // what is wrong, with the name of the object
	request request
	element element // that is added or deleted; of other changes, its zero value
	table   *tableLayout
}

func (tx *transaction) add(why string, r request) {
	tx.changes = append(tx.changes, change{why: why, request: r})
}

// join adds the changes of one table.
func (tx *transaction) join(t *table, changes transaction) {
	for _, c := range changes.changes {
		c.table, c.request.family = t.tableLayout, t.family
		tx.changes = append(tx.changes, c)
	}
}

func (tx transaction) requests() []request {
	list := make([]request, len(tx.changes))
	for i, c := range tx.changes {
		list[i] = c.request
	}
	return list
}

// objectsIn returns the names of what the transaction adds to a table, and of what it
// removes from it.
func (tx transaction) objectsIn(t *tableLayout) func() (added, removed []string) {
	return func() (added, removed []string) {
		for _, c := range tx.changes {
			switch {
			case c.table != t:
			case c.request.deletes():
				removed = append(removed, c.request.object)
			default:
				added = append(added, c.request.object)
			}
		}
		return added, removed
	}
}

// difference names what the change would repair.
func (c change) difference() string { return c.table.String() + ": " + c.why }

// refused returns an error that names the change which the kernel refused.
func (tx transaction) refused(err error) error {
	var r refusal
	if errors.As(err, &r) && r.index >= 0 && r.index < len(tx.changes) {
		return tx.refusedBy(r.index, fmt.Errorf("writing %s: %w", tx.changes[r.index].difference(), err))
	}
	return fmt.Errorf("writing table inet %s: %w", tableName, err)
}

// maxAttempts bounds how often the table is read or written again because
// another program changed tables meanwhile.
const maxAttempts = 100

// maxAttemptsAlone bounds how often a transaction is tried again that the kernel
// refuses although no other program writes.
const maxAttemptsAlone = 5

// commit plans a transaction, commits it, and reports it to the journal.
func (s *Snapshot) commit(plan func() (transaction, error)) error {
	began := time.Now()
	tx, err := s.commitWithRetries(plan)
	for _, t := range []*tableLayout{packets, frames} {
		journal.Tell(t.String(), began, tx.objectsIn(t), err)
	}
	return err
}

// commitWithRetries returns what it committed or, with an error, what it could
// not commit. After another program's change it plans anew.
func (s *Snapshot) commitWithRetries(plan func() (transaction, error)) (done transaction, err error) {
	for attempt := range maxAttempts {
		tx, err := plan()
		if err != nil || len(tx.changes) == 0 {
			return done, err
		}
		s.rememberPrevious(tx)
		err = s.conn.commit(s.generation, tx.requests())
		if err == nil {
			done.changes = append(done.changes, tx.changes...)
			if !s.packets.dormant && !s.frames.dormant {
				return done, nil
			}
		}
		if !waitForRetry(err, attempt) {
			return tx, tx.refused(err)
		}
		before := s.generation
		if readErr := s.reread(); readErr != nil {
			return tx, readErr
		}
		// If the generation is the same, no other program keeps the table busy.
		if err != nil && attempt >= maxAttemptsAlone && s.generation == before {
			return tx, tx.refused(err)
		}
	}
	return done, ErrBusy
}

// waitForRetry reports whether a transaction can be tried again, and waits until
// it is worth it.
func waitForRetry(err error, attempt int) bool {
	switch {
	case err == nil, errors.Is(err, unix.ERESTART): // the generation changed: the other program is done
		return true
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOBUFS),
		errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		time.Sleep(time.Duration(min(attempt, 20)) * time.Millisecond)
		return true
	}
	return false
}

// rememberPrevious keeps for Rollback whether elements were present before the
// first write to them. It is called ahead of the write: if the kernel's reply is
// lost, nobody knows whether the write was done.
func (s *Snapshot) rememberPrevious(tx transaction) {
	for _, c := range tx.changes {
		k := c.element.id()
		if _, known := s.previous[k]; !known && k.set != "" {
			s.previous[k] = !c.element.present
		}
	}
}
