// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"encoding/json"
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Result is the prevResult: what the plugins before this one made. Its fields
// read alike in all of CNI 0.4.0 to 1.1.0, so it is decoded here; the
// conversions of the CNI library panic on a null in its lists.
type Result struct {
	Raw        json.RawMessage // as it came, to be passed on
	Interfaces []Interface
	Addresses  []netip.Prefix // /32 and /128, IPv4 ones not mapped into IPv6
}

// Interface is one entry of the prevResult's interfaces with a valid name.
type Interface struct {
	Name    string
	Sandbox string // path of the network namespace it is in; empty on the host
}

type writtenResult struct {
	Interfaces []*struct {
		Name    string `json:"name"`
		Sandbox string `json:"sandbox"`
	} `json:"interfaces"`
	IPs []*struct {
		Version string `json:"version"` // CNI 0.4.0: "4" or "6"
		Address string `json:"address"`
	} `json:"ips"`
}

// parseResult returns nil where there is no prevResult, and leaves out of it
// what is not valid.
func parseResult(bad *problems, raw json.RawMessage) *Result {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	var w writtenResult
	if err := json.Unmarshal(raw, &w); err != nil {
		bad.add("reading prevResult: %w", err)
		return nil
	}
	r := &Result{Raw: raw}
	for n, i := range w.Interfaces {
		if i == nil {
			bad.add("prevResult interfaces[%d] is null", n)
		} else if err := policy.CheckInterface(i.Name); err != nil {
			bad.add("prevResult interfaces[%d] name %q %w", n, i.Name, err)
		} else {
			r.Interfaces = append(r.Interfaces, Interface{i.Name, i.Sandbox})
		}
	}
	for n, ip := range w.IPs {
		if ip == nil {
			bad.add("prevResult ips[%d] is null", n)
		} else if p, err := parseAddress(ip.Address, ip.Version); err != nil {
			bad.add("prevResult ips[%d] address %q %w", n, ip.Address, err)
		} else {
			r.Addresses = append(r.Addresses, p)
		}
	}
	return r
}
