// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// transact takes a transaction as nfnetlink_rcv_batch does, whole or not at all. If
// it names another generation, only its beginning is answered. Otherwise each
// message is answered that is refused or asks for a reply. Without an end it is
// checked, answered and undone.
func (s *fakeSocket) transact(messages []message) {
	n, end := len(s.commits), len(messages)-1
	if messages[end].kind != batchEnd {
		before, generation := s.host.clone(), s.generation
		s.transact(append(messages, message{kind: batchEnd}))
		s.host, s.generation, s.commits = before, generation, s.commits[:n]
		return
	}
	begin, changes := messages[0], messages[1:end]
	s.commits = append(s.commits, changes)
	if s.concurrent != nil && s.concurrent(n, &s.host) {
		s.generation++
	}
	if begin.attrs.number(unix.NFNL_BATCH_GENID) != s.generation {
		s.replyError(begin, unix.ERESTART)
		return
	}
	errnos := make([]syscall.Errno, len(changes))
	if s.refuse != nil {
		if r := s.refuse(n); r != nil && r.index < 0 {
			s.replyError(begin, r.errno)
			return
		} else if r != nil {
			errnos[r.index] = r.errno
		}
	}
	silent, done := false, true
	if s.unanswered != nil {
		silent, done = s.unanswered(n)
	}
	if done {
		s.change(changes, errnos)
	}
	for i, m := range changes {
		if !silent && (errnos[i] != 0 || m.flags&unix.NLM_F_ACK != 0) {
			s.replyError(m, errnos[i])
		}
	}
}

// change makes all changes, or notes the errors of those that are refused.
func (k *kernel) change(changes []message, errnos []syscall.Errno) {
	next := k.host.clone()
	w := writer{host: &next}
	for i, m := range changes {
		if errnos[i] == 0 && k.lacksExpression(m) {
			errnos[i] = unix.ENOENT
		}
		if errnos[i] == 0 {
			errnos[i] = w.one(m)
		}
	}
	if !slices.ContainsFunc(errnos, func(e syscall.Errno) bool { return e != 0 }) {
		k.host = next
		k.generation++
	}
}

// lacksExpression reports whether a message is a rule that the kernel has no module for.
func (k *kernel) lacksExpression(m message) bool {
	lacks := false
	_ = eachAttr(m.attrs[unix.NFTA_RULE_EXPRESSIONS], func(_ int, attrs []byte) error {
		name, _, err := splitExpr(attrs)
		lacks = lacks || k.lacks[expression{m.family, name}]
		return err
	})
	return kindName(m.kind) == "NEWRULE" && lacks
}

// number returns a number, which has network byte order.
func (a attributes) number(kind int) uint32 {
	if len(a[kind]) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a[kind])
}

// writer makes the changes of one transaction, one after the other.
type writer struct {
	host       *host
	wakesTable bool // the table was dormant
}

// one makes one change, or returns the kernel's error.
func (w *writer) one(m message) syscall.Errno {
	kind := kindName(m.kind)
	if kind == "NEWTABLE" {
		return w.newTable(m)
	}
	const tableAttr = 1 // NFTA_…_TABLE of every kind
	t := w.host.find(m.family, m.attrs.text(tableAttr))
	if t == nil {
		return unix.ENOENT
	}
	switch kind {
	case "DELTABLE":
		w.host.tables = slices.DeleteFunc(w.host.tables, func(u *hostTable) bool { return u == t })
		return 0
	case "NEWCHAIN":
		return w.newChain(t, m)
	case "DELCHAIN":
		return t.deleteChain(m.attrs.text(unix.NFTA_CHAIN_NAME))
	case "NEWRULE":
		return t.newRule(m)
	case "DELRULE":
		return t.deleteRules(m.attrs.text(unix.NFTA_RULE_CHAIN), m.attrs[unix.NFTA_RULE_HANDLE])
	case "NEWSET":
		return t.newSet(m)
	case "DELSET":
		return t.deleteSet(m.attrs.text(unix.NFTA_SET_NAME))
	case "NEWSETELEM", "DELSETELEM":
		return t.element(m)
	}
	return unix.EINVAL
}

// newTable creates a table, or changes the flags of an existing one.
func (w *writer) newTable(m message) syscall.Errno {
	t := w.host.find(m.family, m.attrs.text(unix.NFTA_TABLE_NAME))
	if t == nil {
		t = &hostTable{family: m.family, name: m.attrs.text(unix.NFTA_TABLE_NAME), attrs: m.attrs}
		w.host.tables = append(w.host.tables, t)
		return 0
	}
	w.wakesTable = t.attrs.number(unix.NFTA_TABLE_FLAGS) != m.attrs.number(unix.NFTA_TABLE_FLAGS)
	t.attrs = t.attrs.with(attributes{unix.NFTA_TABLE_FLAGS: m.attrs[unix.NFTA_TABLE_FLAGS]})
	return 0
}
