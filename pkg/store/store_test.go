// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
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
		"a file":            {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is no directory"},
		"a link":            {func(dir string) error { return os.Symlink("/tmp", dir) }, "is no directory"},
		"one for everybody": {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) }, "can be written by others"},
		"a parent that fails": {func(dir string) error {
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
			if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
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
