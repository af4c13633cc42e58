// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// attempts is how often a plan is made anew because another program changed the
// table between reading and writing.
const attempts = 5

func (f *family) read() (err error) {
	f.table, err = f.programs.read()
	return err
}

// make writes the plan for the table. A transaction that fails changed nothing;
// if the table has become another one meanwhile, so does the plan, and it is
// tried again.
func (f *family) make(planFor func(*table) plan) error {
	p := planFor(f.table)
	for range attempts {
		if len(p) == 0 {
			return nil
		}
		// Kept before it is known whether it succeeds: of a program that hung
		// nobody knows what it did.
		if f.before == nil {
			f.before = f.table
		}
		err := f.write(p)
		if err == nil {
			return nil
		}
		if readErr := f.read(); readErr != nil {
			return err
		}
		next := planFor(f.table)
		if next.script() == p.script() {
			return err
		}
		p = next
	}
	return fmt.Errorf("another program changes the table all the time: given up after %d attempts", attempts)
}

// difference says what is wrong with a table before the change.
func (c change) difference(f policy.Family) error {
	if c.op == newChain {
		return fmt.Errorf("%s: %s: %s", f, c.why, c.chain)
	}
	return fmt.Errorf("%s: %s: -A %s %s", f, c.why, c.chain, c.rule)
}
