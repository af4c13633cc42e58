// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"time"

	"github.com/cni-isolation/firewall/pkg/journal"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// family is one address family's programs and table.
type family struct {
	name policy.Family
	programs
	table  *table
	before *table // what it was before the first write; nil while there was none
}

// attempts is how often a plan is made anew because another program changed the
// table between reading and writing.
const maxAttempts = 5

func (f *family) read() (err error) {
	f.table, err = f.programs.read()
	return err
}

// make writes the plan for the table, and tells of it.
func (f *family) apply(planFor func(*table) plan) error {
	began := time.Now()
	p, err := f.writeRetrying(planFor)
	journal.Tell(programNames[f.name].list, began, p.steps, err)
	return err
}

// attempt returns the plan that it wrote, or tried to. A transaction that fails
// changed nothing; if the table has become another one meanwhile, so does the
// plan, and it is tried again.
func (f *family) writeRetrying(planFor func(*table) plan) (tried plan, err error) {
	p := planFor(f.table)
	for range maxAttempts {
		if len(p) == 0 { // at once, or because of a program that did what it was told, and failed
			return tried, nil
		}
		tried = p
		// Kept before it is known whether it succeeds: of a program that hung
		// nobody knows what it did.
		if f.before == nil {
			f.before = f.table
		}
		err := f.write(p)
		if err == nil {
			return p, nil
		}
		if readErr := f.read(); readErr != nil {
			return p, err
		}
		next := planFor(f.table)
		if next.script() == p.script() {
			return p, err
		}
		p = next
	}
	return p, fmt.Errorf("another program changes the table all the time: given up after %d attempts", maxAttempts)
}
