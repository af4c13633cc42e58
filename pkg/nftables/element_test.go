// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

func TestComment(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 20)
	for _, test := range []struct {
		owner policy.Owner
		want  string
	}{
		{policy.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}, "net c1 eth0"},
		{policy.Owner{Network: "net"}, "net"},
		{policy.Owner{}, ""},
		{policy.Owner{Network: `a "b" \c`}, "a ?b? ?c"},
		{policy.Owner{Network: "a\x00b\nc\x7fd\x1be"}, "a?b?c?d?e"},
		{policy.Owner{Network: "größe\xff"}, "gr??e?"},
		{policy.Owner{Network: "net", ContainerID: long}, ("net " + long)[:127]},
		{policy.Owner{Network: strings.Repeat("ü", 130)}, strings.Repeat("?", 127)},
	} {
		e := element{set: setIPv4, key: "\x0a\x01\x00\x02", owner: test.owner}
		if got := e.comment(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		data, has := mustParse(elementAttrs(e))[unix.NFTA_SET_ELEM_USERDATA]
		if has != (test.want != "") || has && !strings.HasSuffix(string(data), test.want+"\x00") {
			t.Errorf("%q: got user data %q", test.want, data)
		}
		if _, has := parseList(e.encode())[0][unix.NFTA_SET_ELEM_USERDATA]; has {
			t.Errorf("%q: there is user data without a comment", test.want)
		}
	}
}

func TestElementString(t *testing.T) {
	t.Parallel()
	name := interfaceKey("br1")
	for _, test := range []struct{ set, key, want string }{
		{setGuardedIPv4, "\x0a\x01\x00\x02", "10.1.0.2"},
		{setGuardedIPv6, "\xfd\x01" + strings.Repeat("\x00", 13) + "\x02", "fd01::2"},
		{setIPv4, name + "\x0a\x01\x00\x02", `"br1" . 10.1.0.2`},
		{setSpeakersIPv6, name + "\xfd\x01" + strings.Repeat("\x00", 13) + "\x02", `"br1" . fd01::2`},
		{chainForged, name, `"br1"`},
		{chainForged, interfaceKey("br1.5") + name, `"br1.5" . "br1"`},
		{setIsolated, name, `"br1"`},
		{setIsolated, interfaceKey("123456789012345"), `"123456789012345"`},
		{setPublished, interfaceKey("a:b.c"), `"a:b.c"`},
		{setSameBridge, name + name, `"br1" . "br1"`},
		{setBlockedWithin, name + interfaceKey("br2"), `"br1" . "br2"`},
	} {
		if got := (element{set: test.set, key: test.key}).String(); got != test.want {
			t.Errorf("set %s, key %q: got %s, want %s", test.set, test.key, got, test.want)
		}
	}
}

// TestKeys expects keys of the length that the kernel compares, with the whole
// name.
func TestKeys(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a", "cni0", "123456789012345"} {
		if got := interfaceKey(name); len(got) != 16 || strings.TrimRight(got, "\x00") != name {
			t.Errorf("%q: got %q", name, got)
		}
	}
	for _, e := range append(desiredElements(sample()).all(), absentElements(sample()).all()...) {
		both := append(slices.Clone(sets), frameSets...)
		i := slices.IndexFunc(both, func(l setLayout) bool { return l.name == e.set })
		if !e.isForged() && (i < 0 || len(e.key) != int(both[i].keyLength)) {
			t.Errorf("set %s: a key of %d bytes", e.set, len(e.key))
		}
	}
}

// TestAbsentElements expects a removal to remove every element that an ADD can have
// added, and to add none.
func TestAbsentElements(t *testing.T) {
	t.Parallel()
	removed := map[elementKey]bool{}
	for _, e := range absentElements(sample()).all() {
		if e.present {
			t.Errorf("%s would be in set %s", e, e.set)
		}
		removed[e.id()] = true
	}
	for _, e := range desiredElements(sample()).all() {
		if !removed[e.id()] {
			t.Errorf("%s stays in set %s", e, e.set)
		}
	}
}
