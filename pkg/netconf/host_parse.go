// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// hostKey is a key that the host's configuration may set.
type hostKey struct {
	name   string
	values []string // all that it may have; nil where it has a syntax
	check  func(bad *problems, as, value string)
}

// hostKeys has every key of a conflist but dataDir: records in another directory than
// before would be lost, and with them what they keep isolated.
var hostKeys = []hostKey{
	choiceKey(policy.KeyIngressPolicy, policy.IngressPolicies, nil),
	choiceKey(policy.KeyPublishedPorts, policy.PublishedPortsValues, nil),
	choiceKey(policy.KeyBackend, policy.Backends, otherBackends),
	syntaxKey(policy.KeyAdminChain, policy.CheckChain),
	syntaxKey(policy.KeyZone, policy.CheckZone),
}

func choiceKey[T ~string](name string, accepted []T, advice map[string]string) hostKey {
	k := hostKey{name: name, check: func(bad *problems, as, value string) {
		choice(bad, as, value, "", accepted, advice)
	}}
	for _, a := range accepted {
		k.values = append(k.values, string(a))
	}
	return k
}

func syntaxKey(name string, check func(string) error) hostKey {
	return hostKey{name: name, check: func(bad *problems, as, value string) { checked(bad, as, value, "", check) }}
}

// parseHost parses the host's configuration. After an error the Host says nothing.
func parseHost(content []byte) (Host, error) {
	var bad problems
	var h Host
	top, err := parseTop(content)
	if err != nil {
		bad.add("%w", err)
	}
	for _, m := range top {
		switch m.key {
		case keyDefaults:
			h.add(HostEntry{Sets: parseSettings(&bad, keyDefaults, m.value)})
		case keyNetworks:
			h.addNetworks(&bad, m.value)
		case keySchema:
		default:
			choice(&bad, "key", m.key, "", []string{keyDefaults, keyNetworks}, nil)
		}
	}
	if len(bad) > 0 {
		return Host{}, bad.joined()
	}
	slices.SortFunc(h.entries, compareEntries)
	return h, nil
}

func (h *Host) addNetworks(bad *problems, raw json.RawMessage) {
	all, err := members(raw)
	if err != nil {
		bad.add("%s %w", keyNetworks, err)
	}
	for _, m := range all {
		where := fmt.Sprintf("%s %q", keyNetworks, m.key)
		if !isPattern(m.key) {
			bad.add("%s is no name of a network: it may have letters, digits, '_', '.' and '-', and '*' at its end", where)
		}
		h.add(HostEntry{m.key, parseSettings(bad, where, m.value)})
	}
}

func (h *Host) add(e HostEntry) {
	if len(e.Sets) > 0 {
		h.entries = append(h.entries, e)
	}
}

// isPattern reports whether networks can have a name, or names like a pattern: CNI wants
// them to begin with a letter or a digit.
func isPattern(name string) bool {
	beginning, isPattern := strings.CutSuffix(name, "*")
	if beginning == "" {
		return isPattern
	}
	return !strings.ContainsAny(beginning[:1], "_.-") && !strings.ContainsFunc(beginning, func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		return !letter && !('0' <= c && c <= '9') && !strings.ContainsRune("_.-", c)
	})
}

func parseSettings(bad *problems, where string, raw json.RawMessage) settings {
	all, err := members(raw)
	if err != nil {
		bad.add("%s %w", where, err)
	}
	set := settings{}
	for _, m := range all {
		i := slices.IndexFunc(hostKeys, func(k hostKey) bool { return k.name == m.key })
		if i < 0 {
			choice(bad, where+": key", m.key, "", hostKeyNames(), otherHostKeys)
			continue
		}
		as := where + ": " + m.key
		value, err := m.text()
		if err != nil {
			bad.add("%s %w", as, err)
			continue
		}
		hostKeys[i].check(bad, as, value)
		set[m.key] = value
	}
	return set
}

// otherHostKeys has what to do instead of keys that only a conflist may have.
var otherHostKeys = map[string]string{
	"datadir": "only a conflist sets dataDir, because records in another directory would be lost",
}

func hostKeyNames() []string {
	var names []string
	for _, k := range hostKeys {
		names = append(names, k.name)
	}
	return names
}
