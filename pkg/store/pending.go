// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// A call that waits for the lock announces in a file what it will do. The call
// that holds the lock may do that along with its own work, in one transaction,
// and mark the file. Then the waiting call finds nothing left to do.
//
// A mark means that all was done, under the lock. Without a mark the waiting call
// does its own work. So a file that is lost, or cannot be written, costs time and
// nothing else.
//
// The waiting call holds an flock on its file as long as it lives. Nothing is
// done for a dead call: its runtime has gone on, and may have deleted meanwhile
// what would be added.
const pendingPrefix = "waiting,"

// PendingCall is a call that waits for the lock. The waiting call and the one
// that holds the lock have the same file open.
type PendingCall struct {
	Attachment policy.Attachment

	verb string
	file *os.File
	size int // of the announcement, in bytes; a mark comes after it
}

// Pending returns the calls of a verb that wait, of those that were listed. It
// removes the files of dead calls. The caller must call Done or Ignore on each.
func (s *Store) Pending(l Listing, verb string) []PendingCall {
	var calls []PendingCall
	for _, name := range l.pending {
		c, err := s.pendingCall(name)
		if err != nil {
			continue // the file is its call's to remove
		}
		if c.verb != verb {
			c.Ignore()
			continue
		}
		calls = append(calls, c)
	}
	return calls
}

// Done tells the waiting call that nothing is left to do.
func (c PendingCall) Done() {
	_, _ = c.file.WriteString("\n")
	_ = c.file.Close()
}

// Ignore leaves the work to the waiting call.
func (c PendingCall) Ignore() { _ = c.file.Close() }

// pendingCall opens the file of a waiting call.
func (s *Store) pendingCall(name string) (c PendingCall, err error) {
	f, err := s.open(name, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return PendingCall{}, err
	}
	if c, err = readPending(f, name); err != nil {
		_ = f.Close()
	}
	return c, err
}

var errDead = errors.New("the call that waited is dead")

func readPending(f *os.File, name string) (PendingCall, error) {
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return PendingCall{}, errors.Join(errDead, os.Remove(f.Name()))
	}
	content, err := readAll(f)
	if err != nil {
		return PendingCall{}, err
	}
	a, err := decode(content)
	if err != nil {
		return PendingCall{}, err
	}
	verb, _, _ := strings.Cut(strings.TrimPrefix(name, pendingPrefix), ",")
	if name != pendingName(verb, a) {
		return PendingCall{}, errForeign
	}
	return PendingCall{a, verb, f, len(content)}, nil
}

func pendingName(verb string, a policy.Attachment) string {
	return pendingPrefix + verb + "," + Key(a.Network, a.ContainerID, a.IfName)
}

// announce writes the file of a call that has to wait. Where it cannot, nobody
// does the call's work, and the PendingCall has no file.
func (s *Store) announce(verb string, a policy.Attachment) PendingCall {
	content, err := encode(a)
	if err != nil {
		return PendingCall{}
	}
	f, err := os.OpenFile(s.path(pendingName(verb, a)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return PendingCall{}
	}
	c := PendingCall{a, verb, f, len(content)}
	err = flock(f)
	if err == nil {
		_, err = f.Write(content)
	}
	if err != nil {
		c.withdraw()
		return PendingCall{}
	}
	return c
}

// isDone reports whether the file was marked.
func (c PendingCall) isDone() bool {
	if c.file == nil {
		return false
	}
	info, err := c.file.Stat()
	return err == nil && info.Size() > int64(c.size)
}

// withdraw removes the file.
func (c PendingCall) withdraw() {
	if c.file != nil {
		_ = os.Remove(c.file.Name())
		_ = c.file.Close()
	}
}
