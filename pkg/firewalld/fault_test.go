// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestFaults has every fault hit every call of every verb.
func TestFaults(t *testing.T) {
	t.Parallel()
	for verb, do := range verbs {
		for _, fault := range []firewalldtest.Fault{
			firewalldtest.Failure, firewalldtest.WorkFailure, firewalldtest.Unauthorized, firewalldtest.Garbage,
			firewalldtest.Hang, firewalldtest.WorkHang, firewalldtest.Drop, firewalldtest.WorkDrop, firewalldtest.Exit,
		} {
			t.Run(verb+" with "+string(fault), func(t *testing.T) {
				t.Parallel()
				for nth, failed := 1, true; failed; nth++ {
					failed = testFault(t, verb, do, fault, nth)
				}
			})
		}
	}
}

// testFault reports whether the verb made an nth call, which the fault hit.
func testFault(
	t *testing.T, verb string, do func(*Sources, policy.RuleSet) error, fault firewalldtest.Fault, nth int,
) (failed bool) {
	t.Helper()
	c, f := connect(t)
	if !strings.HasPrefix(verb, "apply") {
		f.Bind(one, "trusted")
		f.Bind(two, "trusted")
	}
	hangs := fault == firewalldtest.Hang || fault == firewalldtest.WorkHang
	if hangs {
		c.deadline = short
	}
	f.Inject(fault, nth, false)
	err := do(c.Sources(policy.BothFamilies), both)
	if len(f.Calls()) < nth {
		if err != nil {
			t.Errorf("without a fault: %v", err)
		}
		return false
	}
	if gone := fault == firewalldtest.Exit && verb == "remove"; err == nil && !gone {
		t.Errorf("call %d: no error", nth)
	}
	if hangs != errors.Is(err, ErrNoAnswer) {
		t.Errorf("call %d: %v", nth, err)
	}
	if verb == "apply and roll back" {
		testRolledBack(t, f, fault, nth)
	}
	return true
}

// testRolledBack wants nothing to be left of an Apply whose nth call failed.
func testRolledBack(t *testing.T, f *firewalldtest.Firewalld, fault firewalldtest.Fault, nth int) {
	t.Helper()
	switch fault {
	case firewalldtest.Drop, firewalldtest.WorkDrop, firewalldtest.Exit:
		return // there is no firewalld to roll back
	}
	if inRollback := nth > len(both.Addresses); inRollback {
		return // the rollback itself failed
	}
	if left := f.Sources(); len(left) > 0 {
		t.Errorf("call %d with %s leaves %v", nth, fault, left)
	}
}
