// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// FuzzParseEntry looks for names that panic, or that pass with something in them
// which is no interface and no host address.
func FuzzParseEntry(f *testing.F) {
	f.Add(NewEntry(attachment("c1", "10.0.0.2", "fd00::2")).file)
	f.Add(NewEntry(attachment("c1")).file)
	f.Add(NewEntry(crowded("c1", "10.0.0.2")).file)
	f.Add(firstName(attachment("c1", "10.0.0.2")))
	f.Fuzz(func(t *testing.T, file string) {
		var e Entry
		whole, err := e.parse(file)
		if err != nil || !whole {
			return
		}
		a := e.Attachment
		for _, name := range append([]string{a.Bridge, a.Port}, a.Interfaces...) {
			if name != "" && policy.CheckInterface(name) != nil {
				t.Errorf("interface %q passed", name)
			}
		}
		if slices.Contains(a.Interfaces, "") || a.BridgeIndex < 0 || checkPolicies(a) != nil {
			t.Errorf("%+v passed", a)
		}
		for _, p := range e.Attachment.Addresses {
			if p.Bits() != p.Addr().BitLen() {
				t.Errorf("address %s is not that of one host", p)
			}
		}
	})
}

// crowded returns an attachment that has all that a name can say.
func crowded(id string, addresses ...string) policy.Attachment {
	a := attachment(id, addresses...)
	a.BridgeIndex, a.PortIndex, a.Interfaces, a.IngressPolicy = 7, 8, []string{"br-x.5", "vrf+1"}, policy.Isolated
	a.Stated = []policy.IngressPolicy{policy.Open, policy.SameBridge, policy.Isolated}
	return a
}

// TestNameFits gives a record the longest names that there are. Whatever a file system
// takes is 255 bytes.
func TestNameFits(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("%", 15)
	for name, change := range map[string]func(*policy.Attachment){
		"all is long": func(a *policy.Attachment) {
			a.Bridge, a.Port, a.BridgeIndex = longest, longest, 1<<31-1
			a.Interfaces = []string{longest, longest[1:], longest[2:]}
		},
		"many interfaces": func(a *policy.Attachment) {
			for range 50 {
				a.Interfaces = append(a.Interfaces, "br-x.5")
			}
		},
		"many addresses": func(a *policy.Attachment) { a.Addresses = slices.Repeat(a.Addresses, 4) },
		"no address": func(a *policy.Attachment) {
			a.Bridge, a.Port, a.Addresses = longest, longest, nil
			a.Interfaces = []string{longest, longest[1:]}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, a := open(t), crowded("c1", "10.0.0.2", "fd00::2")
			a.Backend = "firewalld"
			change(&a)
			put(t, s, a)
			e := s.List().Entries
			if len(e) != 1 || len(e[0].file) > maxName || !strings.Contains(e[0].file, elsewhere) {
				t.Fatalf("got %+v", e)
			}
			if diff := cmp.Diff(brief(a), e[0].Attachment, comparePrefixes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// putFirst writes the record of an attachment as version 1 did.
func putFirst(t *testing.T, s *Store, a policy.Attachment, port string) (file string) {
	t.Helper()
	content := `{"version":1,"network":"blue","containerID":"` + a.ContainerID + `","ifName":"eth0",` +
		`"backend":"iptables","bridge":"br-x@,%.1","port":"` + port + `",` +
		`"addresses":["` + a.Addresses[0].Addr().String() + `"],` +
		`"ingressPolicy":"` + string(a.IngressPolicy) + `","publishedPorts":"deny",` +
		`"iptablesAdminChainName":"CNI-ADMIN","firewalldZone":"trusted"}`
	if err := os.WriteFile(filepath.Join(s.dir, firstName(a)), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return firstName(a)
}

// TestFirstVersion reads the records that version 1 of the format left, and replaces
// them.
func TestFirstVersion(t *testing.T) {
	t.Parallel()
	for _, p := range policy.IngressPolicies {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			s, a := open(t), attachment("c1", "10.0.0.2")
			a.IngressPolicy = p
			want := "1,0280816d2a2e448b7e89919aeff60783,7bfa4dfcc23fa9b6,iptables,br-x%40%2C%25.1," + string(p) +
				",deny,0a000002.json"
			if file := putFirst(t, s, a, "veth0"); file != want {
				t.Errorf("got the name %s, want %s", file, want)
			}
			l := s.List()
			if len(l.Entries) != 1 || len(l.Problems) > 0 {
				t.Fatalf("got %+v", l)
			}
			if diff := cmp.Diff(brief(a), l.Entries[0].Attachment, comparePrefixes); diff != "" {
				t.Errorf("the entry (-want +got):\n%s", diff)
			}
			got, err := s.Read(l.Entries[0])
			if diff := cmp.Diff(a, got, comparePrefixes); diff != "" || err != nil {
				t.Errorf("the record: error %v (-want +got):\n%s", err, diff)
			}
			a.BridgeIndex = 7
			put(t, s, a, l.Entries...)
			if got := files(t, s); !slices.Equal(got, []string{NewEntry(a).file}) {
				t.Errorf("left: %q", got)
			}
		})
	}
}

// TestFirstVersionDamaged expects a name to isolate, whatever the file says, and a file
// that says something else not to be read.
func TestFirstVersionDamaged(t *testing.T) {
	t.Parallel()
	a := attachment("c1", "10.0.0.2")
	a.IngressPolicy = policy.Isolated
	for name, damage := range map[string]func(path string) error{
		"cut off": func(path string) error { return os.Truncate(path, 20) },
		"another address": func(path string) error {
			return os.Rename(path, strings.Replace(path, "0a000002", "0a000003", 1))
		},
	} {
		s := open(t)
		if err := damage(s.path(putFirst(t, s, a, "veth0"))); err != nil {
			t.Fatal(err)
		}
		l := s.List()
		if len(l.Entries) != 1 || l.Entries[0].Attachment.Bridge != a.Bridge || l.Entries[0].Attachment.Port != "" {
			t.Fatalf("%s: got %+v", name, l)
		}
		if _, err := s.Read(l.Entries[0]); err == nil {
			t.Errorf("%s: the record was read", name)
		}
	}
}
