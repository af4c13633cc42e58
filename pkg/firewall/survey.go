// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Survey is what there is on the host, and what is wrong with it.
type Survey struct {
	Networks []Network
	Empty    bool                // nothing is recorded, nor anything that cannot be read
	Problems []diagnosis.Problem // why what the networks ask for is not in force
	Warnings []diagnosis.Problem // what else the operator should know
}

// InForce reports whether the kernel holds what the networks ask for, and nothing
// else is in their way.
func (v Survey) InForce() bool { return len(v.Problems) == 0 }

// Network is the containers of one network on one bridge, under one policy.
type Network struct {
	Name           string
	Bridge         string // empty where it has none
	IngressPolicy  policy.IngressPolicy
	PublishedPorts policy.PublishedPorts
	Backend        policy.Backend
	Sources        policy.Sources // of all containers
	Containers     []Container
}

// Container is one interface of a container.
type Container struct {
	ID        string
	IfName    string
	Addresses []netip.Addr
}

// Survey reads the records and the rules, and changes nothing.
func (fw *Engine) Survey() (Survey, error) {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return Survey{}, err
	}
	r, moveErr := records{s, s.List(), fw.ports.links}.followed()
	all, unreadable := r.attachments()
	owned, goneErr := r.withoutGone()
	left, _ := owned.attachments()
	desired := fw.desired(owned, nil, append(owned.briefs(), left...)) // a damaged record's name tells something, too
	actual, difference, err := fw.drivers.settled(desired, fw.ports.inForce(&r))
	backends := backendsOf(r.Entries)
	leftOver, foreign := fw.strays(owned)
	wrong := []error{err, moveErr, r.checkBridges(all), goneErr, leftOver, diagnosis.WithKind(diagnosis.ErrDiffers, difference)}
	if difference != nil && slices.Contains(backends, policy.IPTables) {
		wrong = append(wrong, fw.drivers.forwardBlockers())
	}
	warnings := append([]error{unreadable, foreign, fw.weaknesses(all), r.checkKept(all)}, r.Problems...)
	for _, name := range backends {
		drops, err := actual.foreignDrops(name)
		wrong, warnings = append(wrong, drops.Forwarding), append(warnings, drops.Possible, err)
		o := actual.obstacles(name)
		wrong, warnings = append(wrong, o.Forwarding), append(warnings, o.Published, o.Possible)
	}
	wrong = append(wrong, diagnosis.Forwards(all))
	if errors.Join(wrong...) == nil { // else that says enough
		warnings = append(warnings, fw.choiceDiffers(r))
	}
	return Survey{
		Networks: networks(all),
		Empty:    len(r.Entries)+len(r.Leaving)+len(r.Problems) == 0,
		Problems: diagnosis.Explain(errors.Join(wrong...), fw.storage.dataDir),
		Warnings: diagnosis.Explain(errors.Join(warnings...), fw.storage.dataDir),
	}, nil
}

// weaknesses returns an error that says what is weaker where the filter tables isolate
// alone.
func (fw *Engine) weaknesses(all []policy.Attachment) error {
	isIsolated := func(a policy.Attachment) bool { return a.Backend == policy.IPTables && a.IngressPolicy.Isolates() }
	if fw.drivers.hasTable() || !slices.ContainsFunc(all, isIsolated) {
		return nil
	}
	_, noTable := fw.drivers.all[policy.Table].Installed(policy.BothFamilies)
	_, noIPv6 := fw.drivers.all[policy.Filter].Installed(policy.Families(policy.IPv6))
	return errors.Join(diagnosis.WithKind(diagnosis.ErrAlone, noTable), diagnosis.WithKind(diagnosis.ErrNoIPv6, noIPv6))
}

// checkBridges returns an error that names the bridges which attachments have, and which
// no longer exist. A container may be left that lost its network with it.
func (r records) checkBridges(all []policy.Attachment) error {
	var names []string
	for _, a := range all {
		names = append(names, a.Bridge)
	}
	found, err := r.links.Existing(names)
	errs := []error{err}
	for _, a := range all {
		if err != nil || a.Bridge == "" || a.Unseen || found[a.Bridge] != 0 {
			continue
		}
		lives, err := r.portLives(a)
		if lives {
			errs = append(errs, diagnosis.Unplugged(a.Bridge, a.ContainerID))
		} else {
			errs = append(errs, err, diagnosis.BridgeGone(a.Bridge))
		}
	}
	return errors.Join(errs...)
}

// forwardBlockers returns an error that names the chains FORWARD which drop what no
// rule of iptables accepts. There is none on a kernel without nf_tables.
func (d drivers) forwardBlockers() error {
	actual, _ := d.all[policy.Table].Read(policy.BothFamilies)
	return diagnosis.CutOff(actual.Obstacles().Forwarding)
}

// networks groups attachments, sorted by everything that tells them apart.
func networks(all []policy.Attachment) []Network {
	var list []Network
	slices.SortFunc(all, func(a, b policy.Attachment) int {
		return slices.Compare(namesOf(a), namesOf(b))
	})
	for _, a := range all {
		n := Network{
			Name: a.Network, Bridge: a.Bridge, IngressPolicy: a.IngressPolicy,
			PublishedPorts: a.PublishedPorts, Backend: a.Backend,
		}
		if len(list) == 0 || !list[len(list)-1].sameAs(n) {
			list = append(list, n)
		}
		if a.Network == AdoptedNetwork {
			continue // what is on the bridge is not known
		}
		last := &list[len(list)-1]
		last.Sources = last.Sources.With(a.Sources)
		last.Containers = append(last.Containers, newContainer(a))
	}
	return list
}

// namesOf returns everything that tells one interface from another, in the order of a
// survey.
func namesOf(a policy.Attachment) []string {
	return []string{
		a.Network, a.Bridge, string(a.IngressPolicy), string(a.PublishedPorts), string(a.Backend), a.ContainerID, a.IfName,
	}
}

func (n Network) sameAs(other Network) bool {
	return n.Name == other.Name && n.Bridge == other.Bridge && n.IngressPolicy == other.IngressPolicy &&
		n.PublishedPorts == other.PublishedPorts && n.Backend == other.Backend
}

func newContainer(a policy.Attachment) Container {
	c := Container{ID: a.ContainerID, IfName: a.IfName}
	for _, p := range a.Addresses {
		c.Addresses = append(c.Addresses, p.Addr())
	}
	return c
}
