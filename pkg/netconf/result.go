// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"encoding/json"
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Result is prevResult: what the plugins before this one made. It is decoded here
// because the conversions of the CNI library panic on a null in its lists. The
// fields below are the same in CNI 0.4.0 to 1.1.0.
type Result struct {
	Raw        json.RawMessage // as received, to be passed on
	Interfaces []Interface
	Addresses  []netip.Prefix // /32 or /128; IPv4 is not mapped into IPv6
}

// Interface is an entry of prevResult's interfaces. Its name is valid.
type Interface struct {
	Name    string
	Sandbox string // path of its network namespace; empty on the host
}

type writtenResult struct {
	Interfaces []*writtenInterface `json:"interfaces"`
	IPs        []*writtenIP        `json:"ips"`
}

type writtenInterface struct {
	Name    string `json:"name"`
	Sandbox string `json:"sandbox"`
}

type writtenIP struct {
	Version string `json:"version"` // only in CNI 0.4.0: "4" or "6"
	Address string `json:"address"`
}

// parseResult returns nil if there is no prevResult. It leaves out entries that
// are not valid.
func parseResult(bad *problems, raw json.RawMessage) *Result {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	var w writtenResult
	if err := json.Unmarshal(raw, &w); err != nil {
		bad.add("reading prevResult: %w", err)
		return nil
	}
	return &Result{Raw: raw, Interfaces: w.interfaces(bad), Addresses: w.addresses(bad)}
}

func (w *writtenResult) interfaces(bad *problems) []Interface {
	var valid []Interface
	for n, i := range w.Interfaces {
		if i == nil {
			bad.add("prevResult interfaces[%d] is null", n)
		} else if err := policy.CheckInterface(i.Name); err != nil {
			bad.add("prevResult interfaces[%d] name %q %w", n, i.Name, err)
		} else {
			valid = append(valid, Interface{i.Name, i.Sandbox})
		}
	}
	return valid
}

func (w *writtenResult) addresses(bad *problems) []netip.Prefix {
	var valid []netip.Prefix
	for n, ip := range w.IPs {
		if ip == nil {
			bad.add("prevResult ips[%d] is null", n)
		} else if p, err := parseAddress(ip.Address, ip.Version); err != nil {
			bad.add("prevResult ips[%d] address %q %w", n, ip.Address, err)
		} else {
			valid = append(valid, p)
		}
	}
	return valid
}
