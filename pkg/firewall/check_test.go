// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// wrong wants an error that has some words in it, or none.
func wrong(t *testing.T, what string, err error, words string) {
	t.Helper()
	if words == "" && err != nil || words != "" && (err == nil || !strings.Contains(err.Error(), words)) {
		t.Errorf("%s: got %v, want %q", what, err, words)
	}
}

// TestCheck damages the host behind an ADD, and has CHECK see it and write nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		backend policy.Backend
		damage  func(h *fakeHost)
		want    string
	}{
		"nothing": {policy.Firewalld, func(*fakeHost) {}, ""},
		"isolation": {policy.IPTables, func(h *fakeHost) {
			delete(h.drivers[policy.Filter].holds.isolated, "br2")
		}, "bridge br2 is not isolated"},
		"isolation of another bridge": {policy.NFTables, func(h *fakeHost) {
			delete(h.drivers[policy.Table].holds.isolated, "br1")
		}, ""},
		"zone": {policy.Firewalld, func(h *fakeHost) {
			h.drivers[policy.Zones].holds = newHolding()
		}, "firewalld: 10.2.0.2/32 is not accepted"},
		"flag":   {policy.NFTables, func(h *fakeHost) { h.links.filtered = 0 }, "the flag isolated"},
		"bridge": {policy.NFTables, func(h *fakeHost) { h.unplug("br2") }, `bridge "br2" is gone`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, a := twoBridges(t, test.backend)
			h.add(a)
			wrong(t, "undamaged", h.engine().Check(a), "")
			test.damage(h)
			before := h.rules()
			h.took()
			wrong(t, "damaged", h.engine().Check(a), test.want)
			if h.rules() != before || len(h.took()) > 0 {
				t.Errorf("written: %s", h.rules())
			}
		})
	}
}

// TestCheckRecorded has a CHECK not know what the configuration says: it goes by the
// record, and by what it knows where there is none.
func TestCheckRecorded(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	a.PublishedPorts, a.AdminChain = policy.Deny, "MINE"
	h.add(a)
	unknowing := a
	unknowing.IngressPolicy, unknowing.PublishedPorts = policy.Open, policy.Allow
	unknowing.Backend, unknowing.AdminChain = policy.IPTables, "CNI-ADMIN"
	if h.engine().Check(unknowing) == nil {
		t.Error("CHECK passes with another configuration")
	}
	known := h.engine().Recorded(unknowing)
	ok(t, h.engine().Check(known))
	if known.IngressPolicy != a.IngressPolicy || known.PublishedPorts != policy.Deny || known.AdminChain != "MINE" || known.Backend != policy.NFTables {
		t.Errorf("got %+v", known)
	}
	unknowing.ContainerID = "another"
	if got := h.engine().Recorded(unknowing); got.IngressPolicy != policy.Open || got.AdminChain != "CNI-ADMIN" {
		t.Errorf("without a record: got %+v", got)
	}
}

// TestCheckForeign checks containers that upstream's plugin added: with firewalld,
// too, it isolates by iptables.
func TestCheckForeign(t *testing.T) {
	t.Parallel()
	for backend, drivers := range map[policy.Backend][]policy.DriverName{
		policy.IPTables:  {policy.Filter},
		policy.Firewalld: {policy.Zones, policy.Filter},
	} {
		h := newHost(t)
		a := attached(backend, "br1", "c1", policy.SameBridge, "10.1.0.2")
		h.plug("br1", "c1")
		for _, name := range drivers {
			wrong(t, string(backend), h.engine().Check(a), string(name))
			h.drivers[name].holds.foreign["br1"] = true
			h.drivers[name].holds.accepted[a.Addresses[0]] = true
		}
		wrong(t, string(backend), h.engine().Check(a), "")
	}
}

// TestCheckSettles has the first listing show what a call is just writing.
func TestCheckSettles(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.IPTables)
	h.add(a)
	whole, reads := h.drivers[policy.Filter].holds, 0
	h.drivers[policy.Filter].holds = newHolding()
	compare := func(actual snapshots, desired policy.RuleSets) error {
		if reads++; reads == 2 {
			h.drivers[policy.Filter].holds = whole
		}
		return actual.check(desired)
	}
	_, difference, err := h.engine().drivers.settled(policy.RuleSets{policy.Filter: policy.Desired(a)}, compare)
	if difference != nil || err != nil || reads != 2 {
		t.Errorf("after %d reads: %v, %v", reads, difference, err)
	}
}

// TestChoose has a network name no backend.
func TestChoose(t *testing.T) {
	t.Parallel()
	without := func(name policy.DriverName, err error) func(*fakeHost) {
		return func(h *fakeHost) {
			h.drivers[name].families, h.drivers[name].lacks, h.drivers[name].unread = 0, err, err
		}
	}
	for name, test := range map[string]struct {
		host   func(h *fakeHost)
		want   policy.Backend
		err    error
		warned string
	}{
		"firewalld":       {func(*fakeHost) {}, policy.Firewalld, nil, ""},
		"firewalld hangs": {without(policy.Zones, firewalld.ErrNoAnswer), "", firewalld.ErrNoAnswer, ""},
		"no firewalld":    {without(policy.Zones, firewalld.ErrNotRunning), policy.IPTables, nil, ""},
		"another's":       {without(policy.Zones, firewalld.ErrElsewhere), policy.IPTables, nil, "going on without"},
		"neither, no tools": {func(h *fakeHost) {
			without(policy.Zones, firewalld.ErrNotRunning)(h)
			without(policy.Filter, iptables.ErrNotInstalled)(h)
		}, policy.NFTables, nil, ""},
	} {
		h := newHost(t)
		test.host(h)
		got, err := h.engine().Choose()
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		warned := strings.Join(h.warned, "\n")
		if !strings.Contains(warned, test.warned) || test.warned == "" && warned != "" {
			t.Errorf("%s: warned %q, want %q", name, warned, test.warned)
		}
		// A verb that needs a backend fails as the choice does, or uses it.
		a := attached("", "br1", "c1", policy.SameBridge, "10.1.0.2")
		h.plug("br1", "c1")
		if err := h.engine().Add(a, h.delivered); !errors.Is(err, test.err) {
			t.Errorf("%s: ADD: %v", name, err)
		}
		if err := h.engine().Check(a); !errors.Is(err, test.err) {
			t.Errorf("%s: CHECK: %v", name, err)
		}
		if n := len(h.about); test.err == nil && (n == 0 || h.about[n-1].Backend != test.want) {
			t.Errorf("%s: told of %+v", name, h.about)
		}
	}
}

// TestStatus tells what keeps an ADD from working from what is no longer in force.
func TestStatus(t *testing.T) {
	t.Parallel()
	blocked := errors.New("blocked elsewhere")
	for name, test := range map[string]struct {
		damage func(h *fakeHost)
		want   error // a value of its type
		words  string
		warned string
	}{
		"well": {func(*fakeHost) {}, nil, "", ""},
		"flushed": {func(h *fakeHost) { h.drivers[policy.Table].holds = newHolding() }, Limited{},
			"bridge br1 is not same-bridge", ""},
		"blocked": {func(h *fakeHost) { h.drivers[policy.Table].obstacle.Forwarding = blocked }, Limited{},
			"blocked elsewhere", ""},
		"strict": {func(h *fakeHost) { h.drivers[policy.Zones].obstacle.Published = firewalld.ErrStrict }, nil,
			"", "StrictForwardPorts"},
		"no nf_tables": {func(h *fakeHost) {
			d := h.drivers[policy.Table]
			d.families, d.lacks = 0, nftables.ErrUnsupported
		}, Unavailable{}, "modprobe nf_tables", ""},
		"no module": {func(h *fakeHost) {
			h.drivers[policy.Table].unready = &nftables.MissingModule{Names: []string{"nft_ct"}, Err: errors.New("refused")}
		}, Unavailable{}, "modprobe nft_ct", ""},
		"no answer": {func(h *fakeHost) { h.drivers[policy.Zones].unread = firewalld.ErrNoAnswer }, Unavailable{},
			"systemctl restart firewalld", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, a := twoBridges(t, policy.Firewalld)
			h.add(a)
			test.damage(h)
			for _, backend := range []policy.Backend{"", policy.Firewalld} {
				h.warned = nil
				err := h.engine().Status("net", backend, policy.SameBridge)
				wrong(t, name, err, test.words)
				if got, want := fmt.Sprintf("%T", err), fmt.Sprintf("%T", test.want); got != want {
					t.Errorf("got %s, want %s: %v", got, want, err)
				}
				if warned := strings.Join(h.warned, "\n"); !strings.Contains(warned, test.warned) {
					t.Errorf("warned %q", warned)
				}
			}
		})
	}
}

// TestStatusUnused asks about a backend that nobody uses.
func TestStatusUnused(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.IPTables)
	for _, backend := range policy.Backends {
		wrong(t, string(backend), h.engine().Status("net", backend, policy.SameBridge), "")
	}
	h.drivers[policy.Table].unready = errors.New("no such rule")
	wrong(t, "unready", h.engine().Status("net", policy.NFTables, policy.SameBridge), "no such rule")
	h.drivers[policy.Table].unread = errors.New("no more memory")
	wrong(t, "unread", h.engine().Status("net", policy.NFTables, policy.SameBridge), "no more memory")
}

// TestKinds tells what a runtime can do about an error.
func TestKinds(t *testing.T) {
	t.Parallel()
	for err, want := range map[error][2]bool{
		store.ErrLocked: {true, false}, iptables.ErrLocked: {true, false}, nftables.ErrBusy: {true, false},
		firewalld.ErrNoAnswer: {true, false}, firewalld.ErrUnknownZone: {false, true}, link.ErrNotFound: {},
	} {
		wrapped := fmt.Errorf("somewhere: %w", err)
		if got := [2]bool{IsTemporary(wrapped), IsConfiguration(wrapped)}; got != want {
			t.Errorf("%v: got %v", err, got)
		}
	}
	inner := errors.New("inner")
	if !errors.Is(Unavailable{inner}, inner) || !errors.Is(Limited{inner}, inner) {
		t.Error("why is lost")
	}
}

// TestSurveyNetworks groups containers by everything that tells networks apart.
func TestSurveyNetworks(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	h.plug("br2", "c3")
	h.add(attached(policy.NFTables, "br2", "c3", policy.Isolated, "10.2.0.3"))
	v, err := h.engine().Survey()
	ok(t, err)
	var got []string
	for _, n := range v.Networks {
		line := fmt.Sprint(n.Name, " ", n.IngressPolicy, ":")
		for _, c := range n.Containers {
			line += " " + c.ID + " " + c.Addresses[0].String()
		}
		got = append(got, line)
	}
	want := []string{"br1 same-bridge: c1 10.1.0.2", "br2 isolated: c2 10.2.0.2 c3 10.2.0.3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
	h.unplug("br2")
	v, err = h.engine().Survey()
	ok(t, err)
	if v.InForce() || !strings.Contains(v.Problems[0].Problem, `"br2"`) {
		t.Errorf("problems: %v", v.Problems)
	}
}

// TestSurveyCutOff names FORWARD's policy where rules of iptables are missing.
func TestSurveyCutOff(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.IPTables)
	h.drivers[policy.Table].obstacle.Forwarding = errors.Join(
		&nftables.ForwardBlocker{Family: "ip", Table: "filter", Chain: "FORWARD", Program: "iptables"},
		&nftables.ForwardBlocker{Family: "inet", Table: "guard", Chain: "passing"})
	v, err := h.engine().Survey()
	ok(t, err)
	if !v.InForce() {
		t.Errorf("with all rules there: %v", v.Problems)
	}
	h.drivers[policy.Filter].holds = newHolding()
	v, err = h.engine().Survey()
	ok(t, err)
	var got []string
	for _, p := range v.Problems {
		got = append(got, p.Problem)
	}
	text := strings.Join(got, "\n")
	if len(got) != 2 || !strings.Contains(text, "FORWARD") || strings.Contains(text, "passing") {
		t.Errorf("problems:\n%s", text)
	}
}
