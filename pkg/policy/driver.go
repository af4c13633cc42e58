// SPDX-License-Identifier: Apache-2.0

package policy

import "errors"

// A Driver reads and writes the rule sets of one part of the host: the filter
// tables of iptables, the plugin's own nftables table, or firewalld's zones.
type Driver interface {
	// Installed returns those of the families that the host has the means for,
	// and an error that names what the others lack.
	Installed(Families) (Families, error)

	// Read returns what is there for the families. After an error the Snapshot
	// has the families that could be read; it is never nil.
	Read(Families) (Snapshot, error)

	// MayIsolate reports whether the driver may hold isolation of bridges. It asks the
	// kernel and starts no program.
	MayIsolate() bool
}

// A Snapshot is what a Driver held when it was read. Its methods write to what
// was read, and expect that no other call of this plugin does so meanwhile.
type Snapshot interface {
	// Families returns the families that were read.
	Families() Families

	// Check returns an error that names the first difference from a rule set.
	Check(RuleSet) error

	// Ready returns an error where Apply could not work for a network with a policy,
	// whatever its containers are.
	Ready(IngressPolicy) error

	// CheckForeign is Check for rules that upstream's plugin wrote: what it
	// leaves behind is no difference.
	CheckForeign(RuleSet) error

	// DropsSameBridge reports whether a rule separates the containers of a
	// bridge: whether its policy was Isolated until now.
	DropsSameBridge(bridge string) bool

	// Guarded returns the bridges whose addresses nothing guarded before Apply did, and the
	// other interfaces of their networks.
	Guarded() []string

	// Obstacles returns what keeps traffic from containers although every rule
	// is in place. See Obstacles.
	Obstacles() Obstacles

	// ForeignDrops returns what rules of other programs drop, or may drop, of what the
	// rules accept. It is dear, and for operators. See Obstacles.
	ForeignDrops() (Obstacles, error)

	// Apply makes a rule set so. about names the bridges that the call is about;
	// none stands for all. Of other bridges only missing isolation is repaired.
	Apply(rs RuleSet, about []string) error

	// Rollback undoes what Apply did about the bridges and addresses of a rule
	// set. With keepIsolation, isolation that Apply had to add stays.
	Rollback(rs RuleSet, keepIsolation bool) error

	// Remove removes the bridges and addresses of a rule set. What is not there
	// is no error.
	Remove(RuleSet) error

	// Leftovers returns an error that names what Remove had to leave, because it
	// is somebody else's by now.
	Leftovers() error

	// Held returns the bridges, ports and addresses that there are rules of, whoever
	// wrote them. It may read more than Read did, and is not for ordinary calls.
	Held() (RuleSet, error)

	// RemoveForeign removes all rules of the standalone plugin "isolation". What
	// they isolate must be isolated by other rules.
	RemoveForeign() error

	// RemoveFormer removes what a rule set has in the variant of iptables that the host
	// used before. The rule set must be in force in what was read.
	RemoveFormer(RuleSet) error

	// RemoveOwn removes everything that upstream's plugin would not have made.
	RemoveOwn() error
}

// Obstacles are errors about what other programs drop or accept.
type Obstacles struct {
	Forwarding error // all that the rules accept is dropped elsewhere
	Published  error // only connections to published ports are

	// Possible is what only an operator wants to hear: rules elsewhere that may drop
	// some of what the rules accept, or accept some of what they drop.
	Possible error
}

// All returns what stops traffic for certain, joined.
func (o Obstacles) All() error { return errors.Join(o.Forwarding, o.Published) }
