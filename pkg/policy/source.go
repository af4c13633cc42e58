// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
	"strings"
)

// Keys of a conflist that the host's configuration may set, too.
const (
	KeyIngressPolicy  = "ingressPolicy"
	KeyPublishedPorts = "publishedPorts"
	KeyBackend        = "backend"
	KeyAdminChain     = "iptablesAdminChainName"
	KeyZone           = "firewalldZone"
)

// Sources says where the values of an attachment come from, by key: "conflist",
// "defaults" or "networks PATTERN" of the host's configuration, or "unset". It is for
// people, and decides nothing. It is nil where nobody knows.
type Sources map[string]string

// between stands between the sources of a value that has several.
const between = ", "

// With returns the sources of two attachments: both where they differ.
func (s Sources) With(other Sources) Sources {
	both := maps.Clone(s)
	for key, source := range other {
		if both == nil {
			both = Sources{}
		}
		all := strings.Split(source, between)
		if known := both[key]; known != "" {
			all = append(all, strings.Split(known, between)...)
		}
		both[key] = strings.Join(sortUnique(all, strings.Compare), between)
	}
	return both
}

// Like returns the sources with those of some keys as another attachment has them.
func (s Sources) Like(other Sources, keys ...string) Sources {
	changed := maps.Clone(s)
	maps.DeleteFunc(changed, func(key, _ string) bool { return slices.Contains(keys, key) })
	for _, key := range keys {
		if source, known := other[key]; known {
			if changed == nil {
				changed = Sources{}
			}
			changed[key] = source
		}
	}
	return changed
}
