// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func attachment(id string, addresses ...string) policy.Attachment {
	a := policy.Attachment{
		Network: "blue", ContainerID: id, IfName: "eth0", Backend: "iptables",
		Bridge: "br-x@,%.1", Port: "veth0",
		IngressPolicy: policy.SameBridge, PublishedPorts: policy.Deny,
		AdminChain: "CNI-ADMIN", Zone: "trusted",
	}
	for _, text := range addresses {
		addr := netip.MustParseAddr(text)
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return a
}

func put(t *testing.T, s *Store, a policy.Attachment, former ...Entry) {
	t.Helper()
	if err := s.Put(a, former); err != nil {
		t.Fatal(err)
	}
}

// files returns the names in the store.
func files(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

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

// half writes half a record.
func half(t *testing.T, s *Store) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, tempName), []byte(`{"ver`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCrash leaves what a call leaves that dies while it writes.
func TestCrash(t *testing.T) {
	t.Parallel()
	s := open(t)
	half(t, s)
	if l := s.List(); len(l.Entries)+len(l.Problems) > 0 {
		t.Errorf("half a record was listed: %+v", l)
	}
	put(t, s, attachment("c1", "10.0.0.2"))
	if names := files(t, s); len(names) != 1 {
		t.Errorf("got files %q", names)
	}
	half(t, s)
	unlock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if names := files(t, s); len(names) != 2 {
		t.Errorf("a call that does not write left %q", names)
	}
}

// TestDamaged expects every file that is no record to be reported by its path,
// and left as it is.
func TestDamaged(t *testing.T) {
	t.Parallel()
	a := attachment("c1", "10.0.0.2")
	good := NewEntry(a).file
	content, err := encode(a)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(key string, value any) string {
		var r map[string]any
		if err := json.Unmarshal(content, &r); err != nil {
			t.Fatal(err)
		}
		r[key] = value
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	tests := map[string]struct {
		name, content string
		want          string
	}{
		"empty":             {good, "", "unexpected end"},
		"truncated":         {good, string(content[:len(content)/2]), "unexpected end"},
		"not JSON":          {good, "\x00\x01", "invalid character"},
		"future content":    {good, edit("version", 2), "later version"},
		"no version":        {good, edit("version", 0), "version 0 is unknown"},
		"another's content": {good, edit("containerID", "c2"), "does not fit its name"},
		"hostile bridge":    {good, edit("bridge", "x\n-A FORWARD -j ACCEPT"), "bridge"},
		"hostile chain":     {good, edit("iptablesAdminChainName", "ACCEPT"), "iptablesAdminChainName"},
		"empty chain":       {good, edit("iptablesAdminChainName", ""), "iptablesAdminChainName"},
		"bad address":       {good, edit("addresses", []string{"0.0.0.0/0"}), "address"},
		"unknown policy":    {good, edit("ingressPolicy", "closed"), "ingressPolicy"},
		"unknown ports":     {good, edit("publishedPorts", ""), "publishedPorts"},
		"foreign name":      {"notes.txt", "hello", "no record of this plugin"},
		"future name":       {"2,anything.json", "{}", "later version"},
		"hostile name":      {strings.Replace(good, "br-x", "%2F", 1), string(content), "no record of this plugin"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			path := filepath.Join(s.dir, test.name)
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			l := s.List()
			problems := l.Problems
			for _, e := range l.Entries {
				if _, err := s.Read(e); err != nil {
					problems = append(problems, err)
				}
			}
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), test.want) || !strings.Contains(problems[0].Error(), path) {
				t.Errorf("got problems %v, want one with %q and the path", problems, test.want)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != test.content {
				t.Errorf("the file was not left alone: %q, %v", got, err)
			}
		})
	}
}

func TestReadRefusesOddFiles(t *testing.T) {
	t.Parallel()
	a := attachment("c1", "10.0.0.2")
	for name, create := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink("/etc/passwd", path) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		s := open(t)
		if err := create(filepath.Join(s.dir, NewEntry(a).file)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(NewEntry(a)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, words := range [][3]string{{"a", "b", "c"}, {"ab", "", "c"}, {"a", "bc", ""}, {"", "ab", "c"}, {"a", "b", "c1"}} {
		key := Key(words[0], words[1], words[2])
		if seen[key] {
			t.Errorf("%q has the key of another", words)
		}
		seen[key] = true
	}
}

func TestLeaving(t *testing.T) {
	t.Parallel()
	s := open(t)
	for range 2 {
		if err := s.MarkLeaving(7); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.List(); len(l.Leaving) != 1 || l.Leaving[0] != 7 || len(l.Problems) > 0 {
		t.Errorf("got %+v", l)
	}
	for range 2 {
		if err := s.ForgetLeaving(7); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, s); len(left) > 0 {
		t.Errorf("%q is left", left)
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

// FuzzParseEntry does the same for names.
func FuzzParseEntry(f *testing.F) {
	f.Add(NewEntry(attachment("c1", "10.0.0.2", "fd00::2")).file)
	f.Add(NewEntry(attachment("c1")).file)
	f.Fuzz(func(t *testing.T, file string) {
		var e Entry
		whole, err := e.parse(file)
		if err != nil || !whole {
			return
		}
		if b := e.Attachment.Bridge; b != "" && policy.CheckInterface(b) != nil {
			t.Errorf("bridge %q passed", b)
		}
		for _, p := range e.Attachment.Addresses {
			if p.Bits() != p.Addr().BitLen() {
				t.Errorf("address %s is not of one host", p)
			}
		}
	})
}

// BenchmarkList is what every call pays for the attachments of others.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			s, err := Open(filepath.Join(b.TempDir(), "x"))
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				if err := s.Put(attachment(fmt.Sprint(i), fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250), fmt.Sprintf("fd00::%x", i+1)), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := len(s.List().Entries); got != n {
					b.Fatal(got)
				}
			}
		})
	}
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
