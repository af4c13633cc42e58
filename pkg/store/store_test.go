// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "run", "cni", "firewall"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

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

func put(t *testing.T, s *Store, a policy.Attachment, previous ...Entry) {
	t.Helper()
	if err := s.Put(a, previous); err != nil {
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

func TestOpenModes(t *testing.T) {
	t.Parallel()
	s := open(t)
	for dir, want := range map[string]os.FileMode{
		s.dir:                             0o700,
		filepath.Dir(s.dir):               0o700,
		filepath.Dir(filepath.Dir(s.dir)): 0o755, // /run/cni is not the plugin's alone
	} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %#o, want %#o", dir, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(dir string) error
		want string
	}{
		"a file": {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is not a directory"},
		"a link": {func(dir string) error { return os.Symlink("/tmp", dir) }, "is not a directory"},
		"one that all may write to": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777))
		}, "has mode 0777 and others can write to it: it must be 0700"},
		"a file as parent": {func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(dir)), os.WriteFile(filepath.Dir(dir), nil, 0o600))
		}, "not a directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "parent", "firewall")
			if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := test.make(dir); err != nil {
				t.Fatal(err)
			}
			for name, open := range map[string]func(string) (*Store, error){"Open": Open, "Peek": Peek} {
				if _, err := open(dir); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got error %v, want %q in it", name, err, test.want)
				}
			}
		})
	}
}

// TestPeek expects no directory to be created, and then the same store as Open.
func TestPeek(t *testing.T) {
	t.Parallel()
	dataDir := filepath.Join(t.TempDir(), "data")
	s, err := Peek(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	if l := s.List(); len(l.Entries)+len(l.Problems) > 0 {
		t.Errorf("a store that does not exist: got %+v", l)
	}
	if _, err := os.Lstat(dataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory was created (%v)", err)
	}
	opened, err := Open(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, opened, attachment("c1"))
	if l := s.List(); len(l.Entries) != 1 || len(l.Problems) > 0 {
		t.Errorf("after Open: got %+v", l)
	}
}

func TestListFails(t *testing.T) {
	t.Parallel()
	s := &Store{filepath.Join(t.TempDir(), "file")}
	if err := os.WriteFile(s.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if l := s.List(); l.Unlisted == nil || !strings.Contains(l.Unlisted.Error(), "listing the records") {
		t.Errorf("got %+v", l)
	}
}

// TestListAllocates expects of each record its name and its addresses on the heap, beside
// one slice of all entries. The test must not be parallel.
func TestListAllocates(t *testing.T) {
	const records, each, others = 100, 2, 50
	s := open(t)
	for i := range records {
		a := attachment(fmt.Sprint(i), fmt.Sprintf("10.0.0.%d", i), fmt.Sprintf("fd00::%x", i+1))
		a.Bridge = "br0" // without a character that is escaped
		put(t, s, a)
	}
	if count := testing.AllocsPerRun(10, func() { s.List() }); count > each*records+others {
		t.Errorf("%.0f allocations for %d records", count, records)
	}
}

// BenchmarkList is what every call pays for the attachments of others.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			s, err := Open(filepath.Join(b.TempDir(), "x"))
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				a := attachment(fmt.Sprint(i), fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250), fmt.Sprintf("fd00::%x", i+1))
				if err := s.Put(a, nil); err != nil {
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
