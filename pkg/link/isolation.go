// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/journal"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// Unfiltered returns the families whose frames between two ports of the bridge
// pass no rules, because br_netfilter is off or not loaded.
func Unfiltered(bridge Link) (policy.Families, error) {
	var s policy.Families
	for _, f := range policy.BothFamilies.List() {
		name, own := "bridge-nf-call-iptables", bridge.callIPTables
		if f == policy.IPv6 {
			name, own = "bridge-nf-call-ip6tables", bridge.callIP6Tables
		}
		on, err := sysctl(name)
		if err != nil {
			return 0, err
		}
		if !on && !own {
			s = s.With(f)
		}
	}
	return s, nil
}

// sysctl reads a switch of br_netfilter. It is of the reader's network
// namespace, and absent while the module is not loaded.
func sysctl(name string) (bool, error) {
	text, err := os.ReadFile("/proc/sys/net/bridge/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the sysctl net.bridge.%s: %w", name, err)
	}
	return strings.TrimSpace(string(text)) != "0", nil
}

// NeedsFlag reports whether the containers of an isolated bridge must be kept
// apart by the flag of their ports: where the frames of a family they use pass
// no rules. Where the rules do it the flag must be off, for it would also stop
// the frames that br_netfilter redirects to a published port of the same bridge.
func NeedsFlag(bridge Link, families policy.Families) (bool, error) {
	unfiltered, err := Unfiltered(bridge)
	return unfiltered&families != 0, err
}

// FlagPorts gives all container ports of a bridge the flag isolated, or takes
// it from them. Only those that have it otherwise are written.
func FlagPorts(bridge Link, on bool) error {
	ports, err := Ports(bridge)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range ports {
		if !p.IsContainerPort() || p.Isolated == on {
			continue
		}
		began := time.Now()
		if err := SetIsolated(p, on); !errors.Is(err, unix.ENODEV) { // its container was just deleted
			errs = append(errs, err)
			journal.Tell("bridge "+bridge.Name, began, flagged(p, on), err)
		}
	}
	return errors.Join(errs...)
}

func flagged(port Link, on bool) func() (added, removed []string) {
	what := "flag isolated of port " + port.Name
	if on {
		return journal.Added(what)
	}
	return journal.Removed(what)
}

// ErrFlag is wrapped by the error about a port whose flag is wrong.
var ErrFlag = errors.New("the flag isolated")

// CheckPorts returns an error that names the first container port of a bridge
// whose flag isolated is not as it should be. It wraps ErrFlag.
func CheckPorts(bridge Link, on bool) error {
	ports, err := Ports(bridge)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.IsContainerPort() && p.Isolated != on {
			return fmt.Errorf("bridge port %q of %q has %w %t, and it must be %t", p.Name, bridge.Name, ErrFlag, p.Isolated, on)
		}
	}
	return nil
}
