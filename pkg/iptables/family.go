// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/cni-isolation/firewall/pkg/journal"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// maxAttempts is how often a plan is written before the plugin gives up on a table
// that other programs keep changing.
const maxAttempts = 5

// family is one address family's programs and table.
type family struct {
	name policy.Family
	programs
	table  *table
	before *table // the table before the first write; nil without a write

	isFirst bool // a rule set was applied: nothing stands ahead of the isolation any more
}

func (f *family) read() (err error) {
	f.table, err = f.programs.read()
	return err
}

// apply makes a plan for the table, writes it, and reports it to the journal.
func (f *family) apply(planFor func(*table) plan) error {
	began := time.Now()
	p, err := f.writeRetrying(planFor)
	journal.Tell(filepath.Base(f.list), began, p.steps, err)
	return err
}

// writeRetrying returns the last plan that it tried to write. A transaction that
// fails changes nothing. Where the table is another one by then, another program
// was quicker: there is a new plan, and a new attempt. Where the new plan is empty,
// the program did its work before it failed.
func (f *family) writeRetrying(planFor func(*table) plan) (tried plan, err error) {
	next := planFor(f.table)
	for range maxAttempts {
		if len(next) == 0 {
			return tried, nil
		}
		tried = next
		if err = f.writeKeeping(tried); err == nil {
			return tried, nil
		}
		if readErr := f.read(); readErr != nil {
			return tried, err
		}
		if next = planFor(f.table); next.script() == tried.script() {
			return tried, err
		}
	}
	return tried, fmt.Errorf("another program keeps changing the table: gave up after %d attempts", maxAttempts)
}

// writeKeeping writes a plan and keeps the table for a rollback. It keeps it first,
// since nobody knows what a program that hung has done.
func (f *family) writeKeeping(p plan) error {
	if f.before == nil {
		f.before = f.table
	}
	return f.write(p)
}
