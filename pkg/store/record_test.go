// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

func TestPutAndRead(t *testing.T) {
	t.Parallel()
	one := attachment("c1")
	one.IsolatedIn, one.AdminChain, one.Zone = policy.Families(policy.IPv6), "", ""
	many := []string{"10.0.0.1", "fd00::1", "fd00::2", "fd00::3", "fd00::4"}
	for name, a := range map[string]policy.Attachment{
		"dual":                     attachment("c1", "10.0.0.2", "fd00::2"),
		"no address":               attachment("c1"),
		"isolated in one family":   one,
		"more than a name holds":   attachment("c1", many...),
		"an ID that is a path":     attachment("../../etc/passwd", "10.0.0.2"),
		"an ID with a newline":     attachment("c\n1", "10.0.0.2"),
		"an ID longer than a name": attachment(strings.Repeat("c", 300), "10.0.0.2"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			put(t, s, a)
			l := s.List()
			if len(l.Entries) != 1 || len(l.Problems) > 0 {
				t.Fatalf("got %+v", l)
			}
			if diff := cmp.Diff(brief(a), l.Entries[0].Attachment, comparePrefixes); diff != "" {
				t.Errorf("the name says something else: %s", diff)
			}
			got, err := s.Read(l.Entries[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a, got, comparePrefixes); diff != "" {
				t.Error(diff)
			}
			if info, err := os.Stat(filepath.Join(s.dir, l.Entries[0].file)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("got mode %v, error %v", info.Mode(), err)
			}
		})
	}
}

func TestPutReplaces(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := attachment("c1", "10.0.0.2")
	put(t, s, a)
	former := s.List().Entries
	a.IngressPolicy = policy.Isolated
	put(t, s, a, former...)
	put(t, s, attachment("c2", "10.0.0.3"))
	l := s.List()
	if len(l.Entries) != 2 {
		t.Fatalf("got files %q", files(t, s))
	}
	for _, e := range l.Entries {
		if (e.Key == Key("blue", "c1", "eth0")) != (e.Attachment.IngressPolicy == policy.Isolated) {
			t.Errorf("got %+v", e)
		}
		if err := s.Remove(e); err != nil {
			t.Error(err)
		}
		if err := s.Remove(e); err != nil {
			t.Errorf("removing what is gone: %v", err)
		}
	}
	if left := files(t, s); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

func TestPutWritesOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := attachment("c1", "10.0.0.2")
	put(t, s, a)
	path := filepath.Join(s.dir, files(t, s)[0])
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, a, s.List().Entries...)
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the record was written anew (%v)", err)
	}
}

// FuzzDecode looks for content that panics, or that passes and is not written
// back as the same attachment.
func FuzzDecode(f *testing.F) {
	for _, a := range []policy.Attachment{attachment("c1"), attachment("c1", "10.0.0.2", "fd00::2")} {
		content, err := encode(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
	f.Add(`{"version":1,"addresses":["::ffff:10.0.0.1","fe80::1%eth0"]}`)
	f.Fuzz(func(t *testing.T, content string) {
		a, err := decode([]byte(content))
		if err != nil {
			return
		}
		again, err := encode(a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b, comparePrefixes); diff != "" {
			t.Error(diff)
		}
	})
}

// BenchmarkPut is what an ADD pays for its own.
func BenchmarkPut(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "x"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		a := attachment("c1", "10.0.0.2", "fd00::2")
		if err := s.Put(a, nil); err != nil {
			b.Fatal(err)
		}
		if err := s.Remove(NewEntry(a)); err != nil {
			b.Fatal(err)
		}
	}
}
