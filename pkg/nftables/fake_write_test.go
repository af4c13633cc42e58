// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// transact takes a transaction whole or not at all, as nfnetlink_rcv_batch does:
// of one whose tables are not those of the generation it was made for, only the
// beginning is answered; else each message that is refused, and each that asks
// for an answer.
func (l *fakeSocket) transact(messages []message) {
	n, end := len(l.commits), len(messages)-1
	begin, changes := messages[0], messages[1:end]
	if messages[end].kind != batchEnd {
		return // the kernel throws such a one away
	}
	l.commits = append(l.commits, changes)
	if l.concurrent != nil && l.concurrent(n, &l.host) {
		l.generation++
	}
	if begin.attrs.number(unix.NFNL_BATCH_GENID) != l.generation {
		l.acknowledge(begin, unix.ERESTART)
		return
	}
	errnos := make([]syscall.Errno, len(changes))
	if l.refuse != nil {
		if r := l.refuse(n); r != nil && r.index < 0 {
			l.acknowledge(begin, r.errno)
			return
		} else if r != nil {
			errnos[r.index] = r.errno
		}
	}
	silent, done := false, true
	if l.unanswered != nil {
		silent, done = l.unanswered(n)
	}
	if done {
		l.change(changes, errnos)
	}
	for i, m := range changes {
		if !silent && (errnos[i] != 0 || m.flags&unix.NLM_F_ACK != 0) {
			l.acknowledge(m, errnos[i])
		}
	}
}

// change makes the changes, or notes which are refused.
func (k *kernel) change(changes []message, errnos []syscall.Errno) {
	next := k.host.clone()
	w := writer{host: &next}
	for i, m := range changes {
		if errnos[i] == 0 {
			errnos[i] = w.one(m)
		}
	}
	if !slices.ContainsFunc(errnos, func(e syscall.Errno) bool { return e != 0 }) {
		k.host = next
		k.generation++
	}
}

// number reads one in network byte order.
func (a attributes) number(kind int) uint32 {
	if len(a[kind]) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a[kind])
}

// writer makes the changes of one transaction, one after the other.
type writer struct {
	host  *host
	awoke bool // the table was dormant before
}

// one makes one change, or returns why the kernel would refuse it.
func (w *writer) one(m message) syscall.Errno {
	kind := kindName(m.kind)
	if kind == "NEWTABLE" {
		return w.newTable(m)
	}
	tableAttr := 1 // the number of NFTA_…_TABLE, but for rules and elements, is 1 too
	t := w.host.find(m.family, m.attrs.str(tableAttr))
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
		return t.deleteChain(m.attrs.str(unix.NFTA_CHAIN_NAME))
	case "NEWRULE":
		return t.newRule(m)
	case "DELRULE":
		return t.flush(m.attrs.str(unix.NFTA_RULE_CHAIN))
	case "NEWSET":
		return t.newSet(m)
	case "DELSET":
		return t.deleteSet(m.attrs.str(unix.NFTA_SET_NAME))
	case "NEWSETELEM", "DELSETELEM":
		return t.element(m)
	}
	return unix.EINVAL
}

// newTable makes a table, or changes the flags of one that is there.
func (w *writer) newTable(m message) syscall.Errno {
	t := w.host.find(m.family, m.attrs.str(unix.NFTA_TABLE_NAME))
	if t == nil {
		w.host.tables = append(w.host.tables, &hostTable{family: m.family, name: m.attrs.str(unix.NFTA_TABLE_NAME), attrs: m.attrs})
		return 0
	}
	w.awoke = t.attrs.number(unix.NFTA_TABLE_FLAGS) != m.attrs.number(unix.NFTA_TABLE_FLAGS)
	t.attrs = t.attrs.with(attributes{unix.NFTA_TABLE_FLAGS: m.attrs[unix.NFTA_TABLE_FLAGS]})
	return 0
}
