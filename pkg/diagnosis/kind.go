// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Kinds of errors about the host as a whole.
var (
	ErrGone    = errors.New("gone")
	ErrAdrift  = errors.New("left without a network")
	ErrDeleted = errors.New("deleted without this plugin")
	ErrUnowned = errors.New("without an owner")
	ErrForeign = errors.New("isolated by another plugin alone")
	ErrDiffers = errors.New("the kernel does not hold what it should")
	ErrCutOff  = errors.New("cut off")
	ErrAlone   = errors.New("no table isolates beside iptables")
	ErrNoIPv6  = errors.New("nothing isolates in IPv6")
	ErrKept    = errors.New("stays isolated")
)

// withKind is an error of a kind that its text need not name.
type withKind struct {
	error
	kind error
}

func (k withKind) Unwrap() []error { return []error{k.error, k.kind} }

// WithKind returns an error that is also of a kind. It returns nil for nil.
func WithKind(kind, err error) error {
	if err == nil {
		return nil
	}
	return withKind{err, kind}
}

// BridgeGone returns the error that a bridge no longer exists.
func BridgeGone(name string) error { return fmt.Errorf("bridge %q is %w", name, ErrGone) }

// Unplugged returns the error that a bridge no longer exists, and a container's port
// does.
func Unplugged(bridge, containerID string) error {
	return fmt.Errorf("bridge %q is gone, and container %q is %w", bridge, containerID, ErrAdrift)
}

// Deleted returns the error that a container's port no longer exists.
func Deleted(network, containerID string) error {
	return fmt.Errorf("container %q of network %q was %w", containerID, network, ErrDeleted)
}

// Foreign returns the error that no record isolates a bridge.
func Foreign(bridge string) error { return fmt.Errorf("bridge %q is %w", bridge, ErrForeign) }

// Unowned returns the error that a driver holds rules of bridges, ports or addresses that
// no container has. It names the first of many.
func Unowned(driver string, names []string) error {
	const most = 5
	text := strings.Join(names[:min(most, len(names))], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Errorf("%s holds rules %w: %s", driver, ErrUnowned, text)
}

// Kept returns the error that a bridge without a recorded container stays isolated. reason
// says why.
func Kept(bridge, reason string) error {
	return fmt.Errorf("bridge %q %w: %s", bridge, ErrKept, reason)
}

// CutOff picks, from errors about what blocks forwarding, the chains FORWARD of
// iptables: they drop what no rule of iptables accepts. It returns nil for none.
func CutOff(blockers error) error {
	var errs []error
	for _, err := range separate(blockers) {
		if _, is := isForwardChain(err); is {
			errs = append(errs, WithKind(ErrCutOff, err))
		}
	}
	return errors.Join(errs...)
}

// WithoutFirewalld returns errors about what blocks forwarding, less those about firewalld's
// table. What its zones forward of the containers of its backend, they say themselves.
func WithoutFirewalld(blockers error) error {
	var errs []error
	for _, err := range separate(blockers) {
		if _, is := isFirewalldRule(err); !is {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Flowtables returns of some errors those about flowtables.
func Flowtables(all error) error {
	var errs []error
	for _, err := range separate(all) {
		if _, is := isFlowtable(err); is {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func is(kind error) func(error) ([]string, bool) {
	return func(err error) ([]string, bool) { return nil, errors.Is(err, kind) }
}

func isForwardChain(err error) ([]string, bool) {
	var o *nftables.ForwardBlocker
	if !errors.As(err, &o) || o.Program == "" || o.ByRule {
		return nil, false
	}
	return []string{"PROGRAM", o.Program}, true
}

// isForwardRule is isForwardBlocker for a rule: another policy of the chain cures nothing.
func isForwardRule(err error) ([]string, bool) {
	operands, is := isForwardBlocker(err)
	var o *nftables.ForwardBlocker
	if !is || !errors.As(err, &o) || !o.ByRule {
		return nil, false
	}
	return append(operands, "INTERFACE", o.Interface, "PROGRAM", o.Program), true
}

// isForwardChainRule is isForwardRule for the chain FORWARD of iptables.
func isForwardChainRule(err error) ([]string, bool) {
	operands, is := isForwardRule(err)
	var o *nftables.ForwardBlocker
	return operands, is && errors.As(err, &o) && o.Program != ""
}

// isFirewalldRule is isForwardRule for firewalld's table.
func isFirewalldRule(err error) ([]string, bool) {
	operands, is := isForwardRule(err)
	var o *nftables.ForwardBlocker
	return operands, is && errors.As(err, &o) && o.Table == "firewalld"
}

func isUnguarded(err error) ([]string, bool) {
	var u *iptables.Unguarded
	if !errors.As(err, &u) {
		return nil, false
	}
	return []string{"PROGRAM", u.Program, "BRIDGE", u.Bridge, "INTERFACE", u.Interface}, true
}

func isForwardBlocker(err error) ([]string, bool) {
	var o *nftables.ForwardBlocker
	if !errors.As(err, &o) {
		return nil, false
	}
	return []string{"FAMILY", o.Family, "TABLE", o.Table, "CHAIN", o.Chain}, true
}

// isMissingModule has modprobe load each of several modules.
func isMissingModule(err error) ([]string, bool) {
	var m *nftables.MissingModule
	if !errors.As(err, &m) {
		return nil, false
	}
	names := m.Names
	if len(names) > 1 {
		names = append([]string{"-a"}, names...)
	}
	return []string{"MODULE", strings.Join(names, " ")}, true
}

func isFlowtable(err error) ([]string, bool) {
	var f *nftables.Flowtable
	if !errors.As(err, &f) {
		return nil, false
	}
	return []string{"FAMILY", f.Family, "TABLE", f.Table}, true
}

func isFlowtableOfFirewalld(err error) ([]string, bool) {
	var f *nftables.Flowtable
	return nil, errors.As(err, &f) && f.OfFirewalld()
}

func isForeignTable(err error) ([]string, bool) {
	var f nftables.Foreign
	if !errors.As(err, &f) {
		return nil, false
	}
	return []string{"FAMILY", f.Family}, true
}

func isNotForwarding(err error) ([]string, bool) {
	var n notForwarding
	is := errors.As(err, &n)
	return []string{"SYSCTL", string(n)}, is
}

func isFile(err error) ([]string, bool) {
	var f *store.FileError
	if !errors.As(err, &f) {
		return nil, false
	}
	return []string{"FILE", quoted(f.File)}, true
}

func isHostConfiguration(err error) ([]string, bool) {
	var e *netconf.HostError
	return nil, errors.As(err, &e)
}
