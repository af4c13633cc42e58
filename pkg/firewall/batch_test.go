// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// together holds the lock until some calls wait for it, and returns their errors, by
// container, and the number of steps that all took.
func (h *fakeHost) together(t *testing.T, calls map[string]func() error) (map[string]error, []string) {
	t.Helper()
	_, unlock, err := h.engine().storage.lock()
	ok(t, err)
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := map[string]error{}
	for name, call := range calls {
		wg.Go(func() {
			err := call()
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
	}
	for h.waiting(t) < len(calls) {
		if t.Context().Err() != nil {
			t.Fatal("the calls do not wait")
		}
		time.Sleep(time.Millisecond)
	}
	h.took()
	unlock()
	wg.Wait()
	return errs, h.took()
}

// waiting returns how many calls have said what they wait for. To look into their
// files would take one that is just being made for that of a dead call.
func (h *fakeHost) waiting(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob(h.dataDir + "/*/waiting,*")
	ok(t, err)
	n := 0
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			n++
		}
	}
	return n
}

// TestBatch has calls wait for each other: one does the work of those that agree
// with it, and the others do their own.
func TestBatch(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.NFTables)
	h.unplug(portOf("br2", "c2"))
	var mu sync.Mutex
	delivered := 0
	deliver := func() error {
		mu.Lock()
		defer mu.Unlock()
		delivered++
		return nil
	}
	adds, dels := map[string]func() error{}, map[string]func() error{}
	for i := range 4 {
		name := fmt.Sprintf("n%d", i)
		a := attached(policy.NFTables, "br2", name, policy.Isolated, fmt.Sprintf("10.2.0.%d", 2+i))
		if i == 3 {
			a.IngressPolicy = policy.Open // disagrees about the bridge
		}
		h.plug("br2", name)
		adds[name] = func() error { return h.engine().Add(a, deliver) }
		dels[name] = func() error { return h.engine().Del(a) }
	}
	errs, _ := h.together(t, adds)
	if err := errors.Join(errs["n0"], errs["n1"], errs["n2"], errs["n3"]); err != nil || delivered != 4 {
		t.Fatalf("%v, %d results", err, delivered)
	}
	if diff := cmp.Diff([]string{"c1", "n0", "n1", "n2", "n3"}, h.records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	errs, steps := h.together(t, dels)
	steps = slices.DeleteFunc(steps, func(step string) bool { return strings.HasPrefix(step, "set ") })
	if err := errors.Join(errs["n0"], errs["n1"], errs["n2"], errs["n3"]); err != nil || len(steps) > 1 {
		t.Errorf("%v, steps %q", err, steps)
	}
	if got := h.rules(); got != "nftables: br1 same-bridge, 10.1.0.2" {
		t.Errorf("left %s", got)
	}
}

// TestBatchFails has what is done together fail: each call then does its own, and
// just the one at fault fails.
func TestBatchFails(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.NFTables)
	h.before = func(step string) error {
		if strings.Contains(step, "10.2.0.3") && strings.HasPrefix(step, "apply") {
			return errRefused
		}
		return nil
	}
	calls := map[string]func() error{}
	for i := range 3 {
		name := fmt.Sprintf("n%d", i)
		a := attached(policy.NFTables, "br2", name, policy.SameBridge, fmt.Sprintf("10.2.0.%d", 2+i))
		h.plug("br2", name)
		calls[name] = func() error { return h.engine().Add(a, func() error { return nil }) }
	}
	errs, _ := h.together(t, calls)
	for name, err := range errs {
		if errors.Is(err, errRefused) != (name == "n1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := h.rules(); got != "nftables: br1 same-bridge, br2 same-bridge, 10.1.0.2, 10.2.0.2, 10.2.0.4" {
		t.Errorf("left %s", got)
	}
}

// TestBatchUndelivered has another call do the work of an ADD whose runtime does not
// take the result: it is undone.
func TestBatchUndelivered(t *testing.T) {
	t.Parallel()
	h, one := twoBridges(t, policy.NFTables)
	two := attached(policy.NFTables, "br2", "c3", policy.Isolated, "10.2.0.3")
	h.plug("br2", "c3")
	errs, _ := h.together(t, map[string]func() error{
		"c2": func() error { return h.engine().Add(one, func() error { return errRefused }) },
		"c3": func() error { return h.engine().Add(two, func() error { return nil }) },
	})
	if !errors.Is(errs["c2"], errRefused) || errs["c3"] != nil {
		t.Errorf("got %v", errs)
	}
	if got := h.rules(); got != "nftables: br1 same-bridge, br2 isolated, 10.1.0.2, 10.2.0.3" {
		t.Errorf("left %s", got)
	}
	if diff := cmp.Diff([]string{"c1", "c3"}, h.records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
