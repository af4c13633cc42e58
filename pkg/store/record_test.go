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
	told := attachment("c1", "10.0.0.2")
	told.Sources = policy.Sources{policy.KeyBackend: "networks dev-*", policy.KeyZone: "unset"}
	many := []string{"10.0.0.1", "fd00::1", "fd00::2", "fd00::3", "fd00::4"}
	for name, a := range map[string]policy.Attachment{
		"dual":                     attachment("c1", "10.0.0.2", "fd00::2"),
		"no address":               attachment("c1"),
		"isolated in one family":   one,
		"with sources":             told,
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
				t.Errorf("the name (-want +got):\n%s", diff)
			}
			got, err := s.Read(l.Entries[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a, got, comparePrefixes); diff != "" {
				t.Errorf("the content (-want +got):\n%s", diff)
			}
			if info, err := os.Stat(filepath.Join(s.dir, l.Entries[0].file)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("got mode %v, error %v", info.Mode(), err)
			}
		})
	}
}

// TestFormat pins names and content. Other versions of the plugin read them.
func TestFormat(t *testing.T) {
	t.Parallel()
	a := attachment("c1", "10.0.0.2", "fd00::2")
	name := "2,0280816d2a2e448b7e89919aeff60783,7bfa4dfcc23fa9b6,iptables,br-x%40%2C%25.1,0,,,same-bridge,deny," +
		"0a000002+fd000000000000000000000000000002.json"
	if got := NewEntry(a).File(); got != name {
		t.Errorf("name: got %s, want %s", got, name)
	}
	if got := pendingName("ADD", a); got != "waiting,ADD,0280816d2a2e448b7e89919aeff60783" {
		t.Errorf("waiting call: got %s", got)
	}
	b := a
	b.BridgeIndex, b.PortIndex, b.Interfaces, b.IngressPolicy = 7, 8, []string{"br+5", "vrf"}, policy.Isolated
	b.Stated = []policy.IngressPolicy{policy.Open, policy.Isolated}
	name = "2,0280816d2a2e448b7e89919aeff60783,7bfa4dfcc23fa9b6,iptables,br-x%40%2C%25.1,7,br%2B5+vrf,veth0+d0f631ca1ddb," +
		"isolated+open+isolated,deny,0a000002+fd000000000000000000000000000002.json"
	if got := NewEntry(b).File(); got != name {
		t.Errorf("name: got %s, want %s", got, name)
	}
	if got := markName(leaving, "7"); got != "leaving,7" {
		t.Errorf("leaving port: got %s", got)
	}
	one := attachment("c1")
	one.Unseen, one.IsolatedIn = true, policy.Families(policy.IPv4)
	for _, test := range []struct {
		a    policy.Attachment
		want string
	}{
		{a, `"port":"veth0","addresses":["10.0.0.2","fd00::2"],`},
		{b, `"port":"veth0","interfaces":["br+5","vrf"],"bridgeIndex":7,"portIndex":8,` +
			`"addresses":["10.0.0.2","fd00::2"],"ingressPolicy":"isolated","stated":["open","isolated"],`},
		{one, `"bridgeUnseen":true,"port":"veth0","isolatedIn":"IPv4",`},
	} {
		rest := `"ingressPolicy":"same-bridge",`
		if test.a.IngressPolicy == policy.Isolated {
			rest = ""
		}
		want := `{"version":2,"network":"blue","containerID":"c1","ifName":"eth0","backend":"iptables",` +
			`"bridge":"br-x@,%.1",` + test.want + rest + `"publishedPorts":"deny",` +
			`"iptablesAdminChainName":"CNI-ADMIN","firewalldZone":"trusted"}`
		if got, err := encode(test.a); err != nil || string(got) != want {
			t.Errorf("content: got %s, error %v, want %s", got, err, want)
		}
	}
}

func TestPutReplaces(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := attachment("c1", "10.0.0.2")
	put(t, s, a)
	previous := s.List().Entries
	a.IngressPolicy = policy.Isolated
	put(t, s, a, previous...)
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
			t.Errorf("removing a record that is gone: %v", err)
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
		t.Errorf("the record was written again (%v)", err)
	}
}

// TestPutFails expects a Put that fails to keep what is there.
func TestPutFails(t *testing.T) {
	t.Parallel()
	a := attachment("c1", "10.0.0.2")
	previous := NewEntry(attachment("c1"))
	full := func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o700) }
	for name, test := range map[string]struct {
		file string // a directory that neither a removal nor a rename replaces
		want string
		left []string
	}{
		"at writing":               {tempName, "writing a record", []string{tempName}},
		"at renaming":              {NewEntry(a).file, "writing a record", []string{NewEntry(a).file}},
		"at removing the last one": {previous.file, "removing a record", []string{previous.file, NewEntry(a).file}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if err := full(filepath.Join(s.dir, test.file)); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(a, []Entry{previous}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
			if diff := cmp.Diff(test.left, files(t, s)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzDecode looks for content that panics, or that passes and is encoded as
// another attachment.
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

// BenchmarkPut is what an ADD pays for its own record.
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
