// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
)

// Overruled returns an error that names the chains of other tables which drop
// what containers send, and the way out. An accept holds in its own base chain
// only: the packet still passes all others on the hook, and any of them can drop
// it.
func (s *State) Overruled() error {
	if s.table == nil {
		return nil
	}
	blockers := s.table.blockers
	legacy, err := legacyBlockers()
	errs := []error{err}
	for _, b := range append(blockers, legacy...) {
		errs = append(errs, b.explain())
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

func (b blocker) explain() error {
	const what = "chain %s of table %s %s drops what it does not accept itself, and so the containers' traffic too: "
	if program := b.program(); program != "" {
		return fmt.Errorf(what+`set "backend": "iptables" in the conflist, or run "%s -P FORWARD ACCEPT"`, b.chain, b.family, b.table, program)
	}
	return fmt.Errorf(what+`accept it there, or run "nft chain %s %s %s '{ policy accept; }'"`,
		b.chain, b.family, b.table, b.family, b.table, b.chain)
}
