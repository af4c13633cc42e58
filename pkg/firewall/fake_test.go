// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// fakeHost is a host in memory: what its drivers hold, its interfaces, and what was
// done in which order. Only the records are real, in a directory of the test's.
type fakeHost struct {
	t       *testing.T
	dataDir string
	drivers map[policy.DriverName]*fakeDriver
	links   fakeLinks
	flows   *fakeFlows
	next    int          // index of the last interface
	queued  []netip.Addr // that packets wait for
	steps   []string
	warned  []string
	about   []policy.Attachment

	// before runs ahead of each step; its error is the step's.
	before func(step string) error

	// Calls take turns by the lock of the records, which the race detector does not see.
	mu sync.Mutex
}

func newHost(t *testing.T) *fakeHost {
	t.Helper()
	h := &fakeHost{t: t, dataDir: filepath.Join(t.TempDir(), "data"), drivers: map[policy.DriverName]*fakeDriver{}}
	h.links = fakeLinks{host: h, links: map[string]link.Link{}, routes: map[netip.Addr]string{}, filtered: policy.BothFamilies}
	h.flows = &fakeFlows{host: h}
	for _, name := range closing {
		h.drivers[name] = &fakeDriver{host: h, name: name, holds: newHolding(), families: policy.BothFamilies}
	}
	return h
}

// fakeFlows has connections to addresses, redirected or not.
type fakeFlows struct {
	host *fakeHost
	to   map[netip.Addr]bool // whether redirected
	from map[netip.Addr]bool
	err  error
}

func (f *fakeFlows) ForgetOpened(addresses []netip.Addr) error {
	f.host.locked(func() {
		for _, a := range addresses {
			delete(f.from, a)
		}
	})
	return f.err
}

func (f *fakeFlows) Forget(addresses []netip.Addr) (redirected bool, err error) {
	f.host.locked(func() {
		for _, a := range addresses {
			redirected = redirected || f.to[a]
			delete(f.to, a)
		}
	})
	return redirected, f.err
}

// engine returns an engine for one call, as each process has its own.
func (h *fakeHost) engine() *Engine {
	host := Host{
		Drivers: map[policy.DriverName]policy.Driver{},
		Links:   h.links,
		Flows:   h.flows,
		Warn:    func(err error) { h.locked(func() { h.warned = append(h.warned, err.Error()) }) },
		About:   func(a policy.Attachment) { h.locked(func() { h.about = append(h.about, a) }) },
	}
	for name, d := range h.drivers {
		host.Drivers[name] = d
	}
	return New(h.dataDir, host)
}

func (h *fakeHost) step(format string, args ...any) error {
	step := fmt.Sprintf(format, args...)
	if h.before != nil {
		if err := h.before(step); err != nil {
			return err
		}
	}
	h.steps = append(h.steps, step)
	return nil
}

func (h *fakeHost) locked(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	do()
}

// delivered is what a runtime does with a result: it takes it.
func (h *fakeHost) delivered() error { return h.step("deliver") }

// took returns the steps since it was last called.
func (h *fakeHost) took() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	steps := h.steps
	h.steps = nil
	return steps
}

func (h *fakeHost) add(a policy.Attachment) { ok(h.t, h.engine().Add(a, h.delivered)) }

// records returns the containers that there are records of.
func (h *fakeHost) records() []string {
	s, err := store.Peek(h.dataDir)
	ok(h.t, err)
	var names []string
	for _, e := range s.List().Entries {
		if a, err := s.Read(e); err == nil {
			names = append(names, a.ContainerID)
		}
	}
	slices.Sort(names)
	return names
}

// rules returns what all drivers hold, and is empty where nothing is left.
func (h *fakeHost) rules() string {
	var all []string
	for _, name := range closing {
		if text := h.drivers[name].holds.String(); text != "" {
			all = append(all, string(name)+": "+text)
		}
	}
	return strings.Join(all, "; ")
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holding is the rules of one driver.
type holding struct {
	isolated map[string]policy.IngressPolicy // bridges
	accepted map[netip.Prefix]bool
	foreign  map[string]bool // bridges that another plugin isolates
	alone    string          // " alone" where no table isolates as well
}

func newHolding() holding {
	return holding{map[string]policy.IngressPolicy{}, map[netip.Prefix]bool{}, map[string]bool{}, ""}
}

func (h holding) clone() holding {
	return holding{maps.Clone(h.isolated), maps.Clone(h.accepted), maps.Clone(h.foreign), h.alone}
}

func (h holding) String() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(h.isolated)) {
		words = append(words, fmt.Sprintf("%s %s", name, h.isolated[name])+h.alone)
	}
	byAddress := func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }
	for _, p := range slices.SortedFunc(maps.Keys(h.accepted), byAddress) {
		words = append(words, p.Addr().String())
	}
	for _, name := range slices.Sorted(maps.Keys(h.foreign)) {
		words = append(words, "foreign "+name)
	}
	return strings.Join(words, ", ")
}

// fakeDriver holds rules in memory.
type fakeDriver struct {
	host     *fakeHost
	name     policy.DriverName
	holds    holding
	families policy.Families // that the host has the means for
	lacks    error           // why not for more
	unread   error           // why it cannot be read
	unready  error           // why it cannot be written
	obstacle policy.Obstacles
	guards   []string // what Apply says it did not guard before
}

func (d *fakeDriver) Installed(f policy.Families) (policy.Families, error) {
	if f&^d.families != 0 || d.families == 0 {
		return f & d.families, d.lacks
	}
	return f, nil
}

func (d *fakeDriver) MayIsolate() bool { return d.families != 0 && !d.name.Opens() }

func (d *fakeDriver) Read(f policy.Families) (policy.Snapshot, error) {
	if d.unread != nil || f == 0 {
		return &fakeSnapshot{driver: d}, d.unread
	}
	if f&^d.families != 0 {
		return &fakeSnapshot{driver: d}, d.lacks
	}
	return &fakeSnapshot{driver: d, families: f, was: d.now()}, nil
}

// now returns a copy of what the driver holds.
func (d *fakeDriver) now() (h holding) {
	d.host.locked(func() { h = d.holds.clone() })
	return h
}

// fakeSnapshot changes what its driver holds, each call in one transaction.
type fakeSnapshot struct {
	driver   *fakeDriver
	families policy.Families
	was      holding
	wrote    bool
}

func (s *fakeSnapshot) Families() policy.Families { return s.families }

func (s *fakeSnapshot) DropsSameBridge(b string) bool {
	return s.driver.now().isolated[b] == policy.Isolated
}

func (s *fakeSnapshot) Guarded() []string { return s.driver.guards }

func (s *fakeSnapshot) Obstacles() policy.Obstacles { return s.driver.obstacle }

func (s *fakeSnapshot) CheckForeign(rs policy.RuleSet) error {
	if s.driver.name.Opens() {
		return s.Check(rs)
	}
	for _, b := range rs.Bridges {
		if b.IngressPolicy.Isolates() && !s.driver.holds.foreign[b.Name] {
			return fmt.Errorf("%s: bridge %s lacks foreign isolation", s.driver.name, b.Name)
		}
	}
	return nil
}

func (s *fakeSnapshot) Check(rs policy.RuleSet) error {
	for _, b := range rs.Bridges {
		for _, name := range b.Group() {
			if s.driver.wants(b) != s.driver.holds.isolated[name] {
				return fmt.Errorf("%s: bridge %s is not %s", s.driver.name, name, b.IngressPolicy)
			}
		}
	}
	for _, p := range rs.Addresses {
		if !s.driver.holds.accepted[p] {
			return fmt.Errorf("%s: %s is not accepted", s.driver.name, p)
		}
	}
	return nil
}

// wants returns the policy that a driver keeps of a bridge; zones keep none.
func (d *fakeDriver) wants(b policy.Bridge) policy.IngressPolicy {
	if d.name.Opens() || !b.IngressPolicy.Isolates() {
		return ""
	}
	return b.IngressPolicy
}

func (s *fakeSnapshot) Apply(rs policy.RuleSet, _ []string) error {
	next := s.driver.now()
	next.alone = map[bool]string{true: " alone"}[rs.Alone]
	for _, b := range rs.Bridges {
		for _, name := range b.Group() {
			if want := s.driver.wants(b); want != "" {
				next.isolated[name] = want
			} else {
				delete(next.isolated, name)
			}
		}
	}
	for _, p := range rs.Addresses {
		next.accepted[p] = true
	}
	s.wrote = true
	return s.driver.commit("apply", next)
}

// commit is one transaction. It fails as a whole, or after it was done.
func (d *fakeDriver) commit(verb string, next holding) error {
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	if next.String() == d.holds.String() {
		return nil
	}
	was := d.holds
	d.holds = next
	err := d.host.step("%s %s: %s", verb, d.name, next)
	if err != nil && !errors.Is(err, errAfterwards) {
		d.holds = was
	}
	return err
}

// errAfterwards is of a step that was done, and whose caller learns of a failure.
var errAfterwards = errors.New("no answer, though it was done")

func (s *fakeSnapshot) Rollback(rs policy.RuleSet, keepIsolation bool) error {
	if !s.wrote {
		return nil
	}
	next := s.driver.now()
	for _, b := range rs.Bridges {
		for _, name := range b.Group() {
			if was, had := s.was.isolated[name]; had {
				next.isolated[name] = was
			} else if !keepIsolation {
				delete(next.isolated, name)
			}
		}
	}
	for _, p := range rs.Addresses {
		if !s.was.accepted[p] {
			delete(next.accepted, p)
		}
	}
	return s.driver.commit("rollback", next)
}

func (s *fakeSnapshot) Remove(rs policy.RuleSet) error {
	next := s.driver.now()
	for _, b := range rs.Bridges {
		for _, name := range b.Group() {
			if name != b.Name || !b.Kept {
				delete(next.isolated, name)
				delete(next.foreign, name)
			}
		}
	}
	for _, p := range rs.Addresses {
		delete(next.accepted, p)
	}
	return s.driver.commit("remove", next)
}

func (s *fakeSnapshot) Leftovers() error { return nil }

func (s *fakeSnapshot) Ready(policy.IngressPolicy) error { return s.driver.unready }

func (s *fakeSnapshot) Held() (policy.RuleSet, error) {
	if s.driver.name.Opens() {
		return policy.RuleSet{}, nil
	}
	now := s.driver.now()
	rs := policy.RuleSet{Addresses: slices.Collect(maps.Keys(now.accepted))}
	for name, p := range now.isolated {
		rs.Bridges = append(rs.Bridges, policy.Bridge{
			Name: name, IngressPolicy: p, PublishedPorts: policy.Allow, Families: policy.BothFamilies,
		})
	}
	for name := range now.foreign {
		rs.Bridges = append(rs.Bridges, policy.Bridge{
			Name: name, IngressPolicy: policy.SameBridge, PublishedPorts: policy.Deny, Families: policy.BothFamilies,
		})
	}
	return rs, nil
}

func (s *fakeSnapshot) RemoveForeign() error { return nil }

func (s *fakeSnapshot) RemoveFormer(policy.RuleSet) error { return nil }

func (s *fakeSnapshot) ForeignDrops() (policy.Obstacles, error) { return policy.Obstacles{}, nil }

// RemoveOwn leaves in the filter tables what upstream's plugin has too.
func (s *fakeSnapshot) RemoveOwn() error {
	if s.driver.name == policy.Filter {
		return nil
	}
	return s.driver.commit("remove own", newHolding())
}

// recordOf returns the record of an address.
func (h *fakeHost) recordOf(address string) (policy.Attachment, bool) {
	s, err := store.Peek(h.dataDir)
	ok(h.t, err)
	for _, e := range s.List().Entries {
		if a, err := s.Read(e); err == nil && a.Addresses[0].Addr().String() == address {
			return a, true
		}
	}
	return policy.Attachment{}, false
}
