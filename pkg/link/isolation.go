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

// Filtered returns the families in which frames between two ports of any bridge
// meet the rules, because br_netfilter is on for the namespace. For other families
// a bridge may have it on by a setting of its own.
func (Kernel) Filtered() (policy.Families, error) {
	var s policy.Families
	for f, name := range map[policy.Family]string{
		policy.IPv4: "bridge-nf-call-iptables",
		policy.IPv6: "bridge-nf-call-ip6tables",
	} {
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

// Filtered returns the families whose frames meet the rules on this bridge.
// everywhere is what Kernel.Filtered returned.
func (l Link) Filtered(everywhere policy.Families) policy.Families {
	if l.callIPTables {
		everywhere = everywhere.With(policy.IPv4)
	}
	if l.callIP6Tables {
		everywhere = everywhere.With(policy.IPv6)
	}
	return everywhere
}

// sysctl reads a switch of br_netfilter. /proc shows that of the reader's network
// namespace, and none while the module is not loaded.
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

// NeedsFlag reports whether the flag of the ports must isolate the containers of an
// isolated bridge: frames of a family meet no rules, or the gateway has a port of its
// own, which the rules cannot tell from a container's. Otherwise the flag must be off.
// It would also stop the frames that br_netfilter redirects to a published port of the
// same bridge. Containers can give themselves addresses: both families count.
// everywhere is what Kernel.Filtered returned.
func NeedsFlag(bridge Link, b policy.Bridge, everywhere policy.Families) bool {
	return len(b.Interfaces) > 0 || policy.BothFamilies&^bridge.Filtered(everywhere) != 0
}

// Flagged remembers the ports whose flag the plugin set, by their index. Others set the
// flag, too: the bridge plugin's portIsolation, libvirt, an operator.
type Flagged interface {
	Has(index int) bool
	Remember(index int) error
	Forget(index int) error
}

// FlagPorts sets or clears the flag isolated of the container ports of a bridge. It
// writes only to ports whose flag differs, and clears only flags of the plugin's own.
func (k Kernel) FlagPorts(bridge Link, on bool, own Flagged) error {
	ports, err := k.Ports(bridge)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range ports {
		switch {
		case !p.IsContainerPort() || !on && !own.Has(p.Index):
		case p.Isolated != on:
			errs = append(errs, flag(bridge, p, on, own))
		case !on: // another cleared it: the next one who sets it is not the plugin
			errs = append(errs, own.Forget(p.Index))
		}
	}
	return errors.Join(errs...)
}

// flag sets or clears the flag of one port. It is remembered before it is set, and
// forgotten after it was cleared.
func flag(bridge, port Link, on bool, own Flagged) error {
	if on {
		if err := own.Remember(port.Index); err != nil {
			return err
		}
	}
	began := time.Now()
	err := SetIsolated(port, on)
	if errors.Is(err, unix.ENODEV) {
		return nil // its container has just been deleted
	}
	journal.Tell("bridge "+bridge.Name, began, flagged(port, on), err)
	if err == nil && !on {
		err = own.Forget(port.Index)
	}
	return err
}

func flagged(port Link, on bool) func() (added, removed []string) {
	what := "flag isolated of port " + port.Name
	if on {
		return journal.Added(what)
	}
	return journal.Removed(what)
}

// ErrFlag is wrapped by the error about a port with the wrong flag.
var ErrFlag = errors.New("the flag isolated")

// CheckPorts returns an error that names the first container port of a bridge whose
// flag isolated is not on as it must be, or on although the plugin should have cleared
// it. The error wraps ErrFlag.
func (k Kernel) CheckPorts(bridge Link, on bool, own Flagged) error {
	ports, err := k.Ports(bridge)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.IsContainerPort() && p.Isolated != on && (on || own.Has(p.Index)) {
			return fmt.Errorf("bridge port %q of %q has %w %t, and it must be %t", p.Name, bridge.Name, ErrFlag, p.Isolated, on)
		}
	}
	return nil
}
