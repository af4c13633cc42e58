// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// HostFile is the host's configuration. nerdctl and Podman write the conflists, so that the
// operator has no other place to say something.
const HostFile = "/etc/cni-firewall/config.json"

// Keys of the host's configuration.
const (
	keySchema   = "$schema" // by which editors find the schema
	keyDefaults = "defaults"
	keyNetworks = "networks"
)

// Where a value comes from. See policy.Sources.
const (
	FromConflist = "conflist"
	Unset        = "unset"
)

// Host is the host's configuration. The zero value says nothing.
type Host struct {
	entries []HostEntry // in the order in which they are asked; the defaults come last
}

// HostEntry is what the host's configuration says of some networks.
type HostEntry struct {
	Networks string   // a name, or its beginning and a "*"; empty for the defaults
	Sets     settings // not empty, and valid
}

// settings are values by key. A key without a value is unset.
type settings map[string]string

// Source returns what policy.Sources calls the entry.
func (e HostEntry) Source() string {
	if e.Networks == "" {
		return keyDefaults
	}
	return keyNetworks + " " + e.Networks
}

func (e HostEntry) matches(network string) bool {
	beginning, isPattern := strings.CutSuffix(e.Networks, "*")
	if isPattern {
		return strings.HasPrefix(network, beginning)
	}
	return e.Networks == network || e.Networks == ""
}

// compareEntries sorts the most specific first: a name, then the longest beginning.
func compareEntries(a, b HostEntry) int {
	rank := func(e HostEntry) int {
		switch {
		case e.Networks == "":
			return 2
		case strings.HasSuffix(e.Networks, "*"):
			return 1
		}
		return 0
	}
	return cmp.Or(rank(a)-rank(b), len(b.Networks)-len(a.Networks), strings.Compare(a.Networks, b.Networks))
}

// Entries returns what the configuration says, in the order in which it is asked for each
// key.
func (h Host) Entries() []HostEntry { return h.entries }

// resolve returns the values that a network has, and where each comes from.
func (h Host) resolve(network string, stated settings) (values settings, sources policy.Sources) {
	values, sources = settings{}, policy.Sources{}
	for _, k := range hostKeys {
		values[k.name], sources[k.name] = h.value(network, k.name, stated[k.name])
	}
	return values, sources
}

func (h Host) value(network, key, stated string) (value, source string) {
	for _, e := range h.entries {
		if e.Networks == "" && stated != "" {
			break // what a conflist says holds ahead of defaults
		}
		if value := e.Sets[key]; value != "" && e.matches(network) {
			return value, e.Source()
		}
	}
	if stated != "" {
		return stated, FromConflist
	}
	return "", Unset
}

// HostError says why the host's configuration cannot be used.
type HostError struct {
	File string
	err  error
}

// Error returns the path, and what is wrong with the file.
func (e *HostError) Error() string {
	return fmt.Sprintf("reading the host's configuration %s: %v", e.File, e.err)
}

// Unwrap returns what is wrong with the file.
func (e *HostError) Unwrap() error { return e.err }
