// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestFlowsForgotten deletes the connections of a container that goes, and once more
// ahead of the next one with its address: they may have come again in between.
func TestFlowsForgotten(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	address, other := a.Addresses[0].Addr(), netip.MustParseAddr("10.1.0.2")
	flow := map[netip.Addr]bool{address: true, other: true}
	h.flows.to = flow
	ok(t, h.engine().Del(a))
	if _, left := flow[address]; left || len(flow) != 1 {
		t.Errorf("DEL left %v", flow)
	}
	flow[address] = true
	next := a
	next.ContainerID = "next"
	h.add(next)
	if _, left := flow[address]; left || len(flow) != 1 {
		t.Errorf("ADD left %v", flow)
	}
	flow[address] = true
	h.add(next)
	if _, own := flow[address]; !own {
		t.Error("an ADD that repeats took a container's own connections")
	}
}

// TestFlowsOfStricterPolicy deletes what may have been opened in a container's name, and
// leaves what others opened.
func TestFlowsOfStricterPolicy(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*policy.Attachment){
		"":         func(*policy.Attachment) {},
		"isolated": func(a *policy.Attachment) { a.IngressPolicy = policy.Isolated },
		"strict":   func(a *policy.Attachment) { a.IngressPolicy = policy.Strict },
		"deny":     func(a *policy.Attachment) { a.PublishedPorts = policy.Deny },
	} {
		h, _ := twoBridges(t, policy.NFTables)
		h.plug("br1", "c3")
		to, from := map[netip.Addr]bool{netip.MustParseAddr("10.1.0.2"): true}, map[netip.Addr]bool{netip.MustParseAddr("10.1.0.2"): true}
		h.flows.to, h.flows.from = to, from
		a := attached(policy.NFTables, "br1", "c3", policy.SameBridge, "10.1.0.3")
		change(&a)
		h.add(a)
		if (len(from) == 0) != (name != "") || len(to) == 0 {
			t.Errorf("%q: left %v to it, %v from it", name, to, from)
		}
	}
}

// TestFlowsOfUnguarded deletes what may have been opened in the name of containers whose
// addresses nothing guarded until now: of those that are added, and of others that heal.
func TestFlowsOfUnguarded(t *testing.T) {
	t.Parallel()
	own, healed, other := netip.MustParseAddr("10.2.0.2"), netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.9.0.2")
	for name, call := range map[string]func(*fakeHost, policy.Attachment){
		"ADD": func(h *fakeHost, a policy.Attachment) { h.add(a) },
		"restore": func(h *fakeHost, _ policy.Attachment) {
			_, err := h.engine().Restore()
			ok(t, err)
		},
	} {
		h, a := twoBridges(t, policy.NFTables)
		h.add(a)
		h.drivers[policy.Table].guards = []string{"br1", "br2"}
		h.flows.from = map[netip.Addr]bool{own: true, healed: true, other: true}
		call(h, a)
		if len(h.flows.from) != 1 || !h.flows.from[other] {
			t.Errorf("%s: left %v", name, h.flows.from)
		}
	}
}

// TestFlowsFail lets no call fail where connections cannot be deleted.
func TestFlowsFail(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	h.flows.err = errors.New("no such luck")
	ok(t, h.engine().Del(a))
	if !strings.Contains(strings.Join(h.warned, " "), "no such luck") {
		t.Errorf("warned %q", h.warned)
	}
}

// TestWaitingForgotten drops what passed before a bridge was isolated.
func TestWaitingForgotten(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.queued = []netip.Addr{a.Addresses[0].Addr()}
	h.add(a)
	if len(h.queued) > 0 {
		t.Errorf("%v wait", h.queued)
	}
	h.queued = []netip.Addr{a.Addresses[0].Addr()}
	h.add(a) // its bridge is isolated by now: nothing can have passed
	if len(h.queued) == 0 {
		t.Error("a container that is there has its neighbors forgotten")
	}
	// Another one may have been detached while nothing isolated the bridge.
	next := a
	next.ContainerID, next.Addresses = "next", []netip.Prefix{netip.MustParsePrefix("10.4.0.99/32")}
	h.queued = []netip.Addr{next.Addresses[0].Addr()}
	h.add(next)
	if len(h.queued) > 0 {
		t.Errorf("on a bridge that is isolated again, %v wait", h.queued)
	}
}
