// SPDX-License-Identifier: Apache-2.0

// Package firewall is the engine: what each CNI verb and each of the operator's
// commands does to the host, in which order, and how it goes back where that fails.
// It reads no flags and no JSON, and writes to no standard stream.
//
// Every verb works on the same three things. The records say which attachments there
// are; package policy says what the rules of these must be; drivers say what is there,
// and make it so. ADD, CHECK, DEL, GC and restore differ in the verb alone. The order
// of work, which keeps closed what must be closed, stands in order.go.
package firewall

import (
	"errors"
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/conntrack"
	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Engine serves one call.
type Engine struct {
	storage storage
	drivers drivers
	ports   ports
	flows   Flows
	warn    func(...error)
	about   func(policy.Attachment)
	sight   Sight
}

// Host is what an Engine works on, and whom it tells.
type Host struct {
	Drivers map[policy.DriverName]policy.Driver
	Links   Links
	Flows   Flows
	Sight   Sight // for an Explainer

	// Warn is told of what did not stop the call.
	Warn func(error)

	// About is told which attachment the call is about, as soon as that is known.
	About func(policy.Attachment)
}

// Flows is the kernel's connection tracking. See conntrack.Kernel.
type Flows interface {
	Forget(addresses []netip.Addr) (redirected bool, err error)
	ForgetOpened(addresses []netip.Addr) error
}

// Links is what the kernel says of interfaces. See link.Kernel.
type Links interface {
	ByName(name string) (link.Link, error)
	All() ([]link.Link, error)
	Ports(bridge link.Link) ([]link.Link, error)
	ByIndex(index int) (link.Link, error)
	Existing(names []string) (map[string]int, error)
	Names(indices []int) (map[int]string, error)
	RouteTo(address netip.Addr) (index int, err error)
	Filtered() (policy.Families, error)
	FlagPorts(bridge link.Link, on bool, own link.Flagged) error
	CheckPorts(bridge link.Link, on bool, own link.Flagged) error
	SetUp(port link.Link, up bool) error
	ForgetNeighbor(index int, address netip.Addr) error
}

// New returns the engine for the records below a data directory.
func New(dataDir string, host Host) *Engine {
	warn := func(errs ...error) {
		if err := errors.Join(errs...); err != nil {
			host.Warn(err)
		}
	}
	return &Engine{
		storage{dataDir, host.Links, warn}, drivers{host.Drivers, warn}, ports{host.Links}, host.Flows, warn, host.About, host.Sight,
	}
}

// ThisHost returns the network namespace that the process runs in. A driver opens its
// one connection when it is first asked. Drivers are read at the same time, so that they
// share none.
func ThisHost() Host {
	table := nftables.NewDriver()
	return Host{
		Drivers: map[policy.DriverName]policy.Driver{
			policy.Filter: iptables.Driver{Kernel: nftables.NewDriver()},
			policy.Table:  table,
			policy.Zones:  firewalld.NewDriver(),
		},
		Links: link.Kernel{},
		Flows: conntrack.Kernel{},
		Sight: sight{table: table},
		Warn:  func(error) {},
		About: func(policy.Attachment) {},
	}
}

// explained returns an error in words for the operator.
func (fw *Engine) explained(err error) error { return diagnosis.Explained(err, fw.storage.dataDir) }

// IsTemporary reports whether an error may be gone at the next try: another call, or
// another program, was in the way.
func IsTemporary(err error) bool {
	return errors.Is(err, store.ErrLocked) || errors.Is(err, iptables.ErrLocked) ||
		errors.Is(err, nftables.ErrBusy) || errors.Is(err, firewalld.ErrNoAnswer)
}

// IsConfiguration reports whether an error is in what the network's configuration asks
// for, and only the host could tell.
func IsConfiguration(err error) bool {
	return errors.Is(err, firewalld.ErrUnknownZone) || errors.Is(err, errUnnamed)
}
