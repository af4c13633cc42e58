// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// isolatedOn returns a container of one isolated bridge, with the name of its port.
func isolatedOn(port string, addresses ...string) policy.Attachment {
	a := container("br1", policy.Isolated, policy.Allow, addresses...)
	a.Port, a.ContainerID = port, "on "+port
	return a
}

// frameElements returns the elements of the table for frames, or nil without one.
func (k *kernel) frameElements() []string {
	t := k.host.find(unix.NFPROTO_BRIDGE, tableName)
	if t == nil {
		return nil
	}
	var all []string
	for _, s := range t.sets {
		for _, key := range slices.Sorted(maps.Keys(s.elements)) {
			all = append(all, s.name+" "+element{set: s.name, key: key}.String())
		}
	}
	return all
}

// TestFrames adds ports of an isolated bridge, and takes them away.
func TestFrames(t *testing.T) {
	t.Parallel()
	one, two := isolatedOn("veth1", "10.1.0.2", "fd01::2"), isolatedOn("veth2", "10.1.0.3")
	k := newKernel()
	apply(t, k, policy.Desired(one), "br1")
	apply(t, k, policy.Desired(one, two).With(policy.Desired(two)), "br1")
	both := []string{
		`isolated_ports "veth1"`, `isolated_ports "veth2"`,
		"guarded_ipv4 10.1.0.2", "guarded_ipv4 10.1.0.3", "guarded_ipv6 fd01::2",
		`speakers_ipv4 "veth1" . 10.1.0.2`, `speakers_ipv4 "veth2" . 10.1.0.3`, `speakers_ipv6 "veth1" . fd01::2`,
	}
	if diff := cmp.Diff(both, k.frameElements()); diff != "" {
		t.Error(diff)
	}
	if err := check(t, k, policy.Desired(one, two)); err != nil {
		t.Error(err)
	}
	// What guards another container is missing: the next ADD on any bridge puts it back.
	k.otherProgram(func(h *host) { clear(h.find(unix.NFPROTO_BRIDGE, tableName).set(setSpeakersIPv4).elements) })
	want := "table bridge cni_firewall: set " + setSpeakersIPv4 + ` lacks "veth1" . 10.1.0.2`
	if err := check(t, k, policy.Desired(one)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	other := container("br9", policy.Open, policy.Allow, "10.9.0.2")
	apply(t, k, policy.Desired(one, two, other).With(policy.Desired(other)), "br9")
	if diff := cmp.Diff(both, k.frameElements()); diff != "" {
		t.Error(diff)
	}
	remove(t, k, policy.RuleSet{Ports: policy.Desired(one).Ports})
	if got := strings.Join(k.frameElements(), " "); strings.Contains(got, "veth1") || !strings.Contains(got, "veth2") {
		t.Errorf("left %s", got)
	}
	remove(t, k, policy.Desired(two))
	if k.host.find(unix.NFPROTO_BRIDGE, tableName) != nil {
		t.Errorf("left %s", k.host.String())
	}
	remove(t, k, policy.Desired(one, other))
	k.wantHost(t, "")
}

// TestFramesTwice removes a port that is named twice, as a call and its record do, and
// keeps an address that another port has by now.
func TestFramesTwice(t *testing.T) {
	t.Parallel()
	old, now := policy.Desired(isolatedOn("veth1", "10.1.0.2")), policy.Desired(isolatedOn("veth2", "10.1.0.2"))
	k := holding(t, old)
	apply(t, k, now)
	remove(t, k, policy.RuleSet{Ports: slices.Concat(old.Ports, old.Ports), KeptPorts: now.Ports})
	want := []string{`isolated_ports "veth2"`, "guarded_ipv4 10.1.0.2", `speakers_ipv4 "veth2" . 10.1.0.2`}
	if diff := cmp.Diff(want, k.frameElements()); diff != "" {
		t.Error(diff)
	}
	// Another entry of the conflist has the port, too, without addresses.
	remove(t, k, policy.RuleSet{Ports: now.Ports, KeptPorts: policy.Desired(isolatedOn("veth2")).Ports})
	if diff := cmp.Diff(want[:1], k.frameElements()); diff != "" {
		t.Error(diff)
	}
}

// TestFramesDamaged has another program change the table for frames.
func TestFramesDamaged(t *testing.T) {
	t.Parallel()
	rs := policy.Desired(isolatedOn("veth1", "10.1.0.2"))
	for name, do := range map[string]func(*hostTable){
		"chain missing": func(t *hostTable) { t.drop(chainFrames) },
		"rule missing":  func(t *hostTable) { t.chain(chainSpeakers).rules = t.chain(chainSpeakers).rules[:1] },
		"foreign rule":  func(t *hostTable) { c := t.chain(chainFrames); c.rules = slices.Insert(c.rules, 0, acceptRule) },
		"set missing":   func(t *hostTable) { t.drop(setPorts) },
		"dormant": func(t *hostTable) {
			t.attrs = t.attrs.with(attributes{unix.NFTA_TABLE_FLAGS: {0, 0, 0, unix.NFT_TABLE_F_DORMANT}})
		},
	} {
		k := holding(t, rs)
		whole := k.host.String()
		k.otherProgram(func(h *host) { do(h.find(unix.NFPROTO_BRIDGE, tableName)) })
		if k.host.String() == whole {
			t.Fatalf("%s: nothing is damaged", name)
		}
		if err := check(t, k, rs); err == nil || !strings.HasPrefix(err.Error(), "table bridge cni_firewall: ") {
			t.Errorf("%s: got %v", name, err)
		}
		apply(t, k, rs)
		if err := check(t, k, rs); err != nil {
			t.Errorf("%s: not repaired: %v", name, err)
		}
	}
}

// TestFramesForeign has a table for frames of another program: who needs ours is refused.
func TestFramesForeign(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.otherProgram(func(h *host) { h.newTable(unix.NFPROTO_BRIDGE, tableName).newChain("mine", nil) })
	apply(t, k, sample())
	err := readSnapshot(t, k).Apply(policy.Desired(isolatedOn("veth1", "10.1.0.2")), nil)
	if want := (Foreign{"bridge"}); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// TestFramesRollback undoes what a failed ADD did.
func TestFramesRollback(t *testing.T) {
	t.Parallel()
	one, two := policy.Desired(isolatedOn("veth1", "10.1.0.2")), policy.Desired(isolatedOn("veth2", "10.1.0.3"))
	k := holding(t, one)
	before := k.host.String()
	s := readSnapshot(t, k)
	if err := s.Apply(two, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Rollback(two, true); err != nil {
		t.Fatal(err)
	}
	k.wantHost(t, before)
}
