// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
)

// Result is prevResult: what the plugins before this one made. It is decoded here
// because the conversions of the CNI library panic on a null in its lists. The
// fields below are the same in CNI 0.3.0 to 1.1.0.
//
// Only what reaches a rule is checked. Other plugins answer with names that are no
// interface's (a PCI address, none for vhost-user) and addresses that are not forwarded
// (of lo), and upstream's plugin takes them all.
type Result struct {
	Raw        json.RawMessage // as received, with a version, to be passed on
	Interfaces []Interface
	Addresses  []netip.Prefix // that the host forwards: /32 or /128; IPv4 is not mapped into IPv6
}

// Interface is an entry of prevResult's interfaces. Its name is not checked.
type Interface struct {
	Name    string
	Sandbox string // path of its network namespace; empty on the host
}

type writtenResult struct {
	CNIVersion string              `json:"cniVersion"`
	Interfaces []*writtenInterface `json:"interfaces"`
	IPs        []*writtenIP        `json:"ips"`

	// Where the addresses were up to CNI 0.2.0.
	IP4 any `json:"ip4"`
	IP6 any `json:"ip6"`
}

type writtenInterface struct {
	Name    string `json:"name"`
	Sandbox string `json:"sandbox"`
}

type writtenIP struct {
	Address string `json:"address"`
}

// parseResult returns nil if there is no prevResult. It leaves out addresses that are
// not valid. version is the configuration's.
func parseResult(bad *problems, raw json.RawMessage, version string) *Result {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	var w writtenResult
	if err := json.Unmarshal(raw, &w); err != nil {
		bad.add("reading prevResult: %w", err)
		return nil
	}
	if w.IP4 != nil || w.IP6 != nil {
		bad.add(`prevResult has "ip4" or "ip6", as in CNI 0.2.0: it must have "ips", as from CNI 0.3.0 on`)
	}
	if w.CNIVersion != version && isSameForm(w.CNIVersion, version) {
		raw = withVersion(raw, version)
	}
	return &Result{Raw: raw, Interfaces: w.interfaces(), Addresses: w.addresses(bad)}
}

// isSameForm reports whether results of two versions of CNI differ in nothing else. Before
// 1.0.0, plugins left the version out.
func isSameForm(result, version string) bool {
	first, _, _ := strings.Cut(result, ".")
	return result == "" || strings.HasPrefix(version, first+".")
}

// withVersion returns a result with the version of the configuration, which a plugin has
// to answer with.
func withVersion(raw json.RawMessage, version string) json.RawMessage {
	keys := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &keys) != nil {
		return raw
	}
	keys["cniVersion"], _ = json.Marshal(version)
	if completed, err := json.Marshal(keys); err == nil {
		return completed
	}
	return raw
}

func (w *writtenResult) interfaces() []Interface {
	var all []Interface
	for _, i := range w.Interfaces {
		if i != nil {
			all = append(all, Interface{i.Name, i.Sandbox})
		}
	}
	return all
}

func (w *writtenResult) addresses(bad *problems) []netip.Prefix {
	var valid []netip.Prefix
	seen := map[netip.Prefix]bool{}
	for n, ip := range w.IPs {
		if ip == nil {
			bad.add("prevResult ips[%d] is null", n)
			continue
		}
		p, err := parseAddress(ip.Address)
		if err != nil {
			bad.add("prevResult ips[%d] address %q %w", n, ip.Address, err)
		} else if isForwarded(p.Addr()) && !seen[p] {
			seen[p] = true
			valid = append(valid, p)
		}
	}
	return valid
}
