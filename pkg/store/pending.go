// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// A call that has to wait for the lock says in a file what it waits for. The call
// that has the lock may do so with its own work, in one transaction, and mark the
// file; the other then finds nothing left to do.
//
// A mark says that all was done, under the lock. Without one, a call does its work
// itself: a file that is lost, or cannot be written, costs time and nothing else.
// The one who waits holds a lock on its file as long as it lives, so that nothing
// is done for the dead: their runtime has gone on, and may have deleted meanwhile
// what would be added.
const requestPrefix = "waiting,"

// Request is what a call waits for.
type Request struct {
	Verb       string
	Attachment policy.Attachment

	file *os.File
}

// Done tells the call that it has nothing left to do.
func (r Request) Done() {
	_, _ = r.file.WriteString("\n")
	_ = r.file.Close()
}

// Ignore leaves it to the call itself.
func (r Request) Ignore() { _ = r.file.Close() }

// Requests returns what live calls of a verb wait for, of those that were listed,
// and forgets the dead. Each must be told that it is done, or ignored.
func (s *Store) Requests(l Listing, verb string) []Request {
	var alive []Request
	for _, name := range l.waiting {
		r, err := s.request(name)
		if err != nil {
			continue // it is its caller's
		}
		if r.Verb != verb {
			r.Ignore()
			continue
		}
		alive = append(alive, r)
	}
	return alive
}

var errDead = errors.New("nobody waits any more")

func (s *Store) request(name string) (r Request, err error) {
	f, err := s.open(name, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return Request{}, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return Request{}, errors.Join(errDead, os.Remove(f.Name()))
	}
	content, err := readAll(f)
	if err != nil {
		return Request{}, err
	}
	a, err := decode(content)
	if err != nil {
		return Request{}, err
	}
	r = Request{Attachment: a, file: f}
	r.Verb, _, _ = strings.Cut(strings.TrimPrefix(name, requestPrefix), ",")
	if name != requestName(r.Verb, a) {
		return Request{}, errForeign
	}
	return r, nil
}

func requestName(verb string, a policy.Attachment) string {
	return requestPrefix + verb + "," + Key(a.Network, a.ContainerID, a.IfName)
}

// wish is a request from the side of the one who waits.
type wish struct {
	file *os.File
	size int64 // in bytes, without a mark
}

// ask says what a call waits for, or returns nil where that cannot be said.
func (s *Store) ask(verb string, a policy.Attachment) *wish {
	content, err := encode(a)
	if err != nil {
		return nil
	}
	path := filepath.Join(s.dir, requestName(verb, a))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil
	}
	w := &wish{f, int64(len(content))}
	err = flock(f)
	if err == nil {
		_, err = f.Write(content)
	}
	if err != nil {
		w.withdraw()
		return nil
	}
	return w
}

// isDone reports whether it was marked.
func (w *wish) isDone() bool {
	if w == nil {
		return false
	}
	info, err := w.file.Stat()
	return err == nil && info.Size() > w.size
}

func (w *wish) withdraw() {
	if w != nil {
		_ = os.Remove(w.file.Name())
		_ = w.file.Close()
	}
}
