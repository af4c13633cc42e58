// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// ForwardBlocker is a chain of another table that drops what it does not accept
// itself, and so what containers send.
type ForwardBlocker struct {
	Family, Table, Chain string
	Program              string // of iptables, if it is that which keeps the table
}

// Error names the chain.
func (o *ForwardBlocker) Error() string {
	return fmt.Sprintf("chain %s of table %s %s drops what it does not accept itself", o.Chain, o.Family, o.Table)
}

// Obstacles returns an error that joins a ForwardBlocker for each chain that is one.
// An accept holds in its own base chain only: the packet still passes all others
// on the hook, and any of them can drop it.
func (s *Snapshot) Obstacles() policy.Obstacles {
	return policy.Obstacles{Forwarding: s.forwardBlockers()}
}

func (s *Snapshot) forwardBlockers() error {
	if s.table == nil {
		return nil
	}
	blockers := s.table.blockers
	legacy, err := legacyBlockers()
	errs := []error{err}
	for _, b := range append(blockers, legacy...) {
		errs = append(errs, &ForwardBlocker{b.family, b.table, b.chain, b.program()})
	}
	return errors.Join(errs...)
}

// program is what iptables calls the tables that it keeps.
func (b blocker) program() string {
	if b.family == "inet" || b.table != "filter" || b.chain != "FORWARD" {
		return ""
	}
	return map[string]string{"ip": "iptables", "ip6": "ip6tables"}[b.family] + b.variant
}
