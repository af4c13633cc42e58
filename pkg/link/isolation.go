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

// Filtered returns the families whose frames between two ports of any bridge pass
// the rules, because br_netfilter is on. A bridge of which it is not may have it
// on by itself.
func (Kernel) Filtered() (policy.Families, error) {
	var s policy.Families
	for f, name := range map[policy.Family]string{policy.IPv4: "bridge-nf-call-iptables", policy.IPv6: "bridge-nf-call-ip6tables"} {
		on, err := sysctl(name)
		if err != nil {
			return 0, err
		}
		if on {
			s = s.With(f)
		}
	}
	return s, nil
}

// filtered returns the families whose frames pass the rules on the bridge.
func (l Link) filtered(everywhere policy.Families) policy.Families {
	if l.callIPTables {
		everywhere = everywhere.With(policy.IPv4)
	}
	if l.callIP6Tables {
		everywhere = everywhere.With(policy.IPv6)
	}
	return everywhere
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
// everywhere is what Filtered tells.
func NeedsFlag(bridge Link, families, everywhere policy.Families) bool {
	return families&^bridge.filtered(everywhere) != 0
}

// FlagPorts gives all container ports of a bridge the flag isolated, or takes
// it from them. Only those that have it otherwise are written.
func (k Kernel) FlagPorts(bridge Link, on bool) error {
	ports, err := k.Ports(bridge)
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
func (k Kernel) CheckPorts(bridge Link, on bool) error {
	ports, err := k.Ports(bridge)
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
