// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// configReport is the JSON of "cni-firewall config check". It is an interface.
type configReport struct {
	File     string              `json:"file"`
	Found    bool                `json:"found"`
	Valid    bool                `json:"valid"` // so it is where there is no file
	Networks []networksEntry     `json:"networks"`
	Defaults map[string]string   `json:"defaults,omitempty"`
	Problems []diagnosis.Problem `json:"problems"`
}

// networksEntry is what is set for the networks that a pattern matches.
type networksEntry struct {
	Pattern string            `json:"pattern"`
	Sets    map[string]string `json:"sets"`
}

func (r *configReport) add(h netconf.Host) {
	for _, e := range h.Entries() {
		if e.Networks == "" {
			r.Defaults = e.Sets
		} else {
			r.Networks = append(r.Networks, networksEntry{e.Networks, e.Sets})
		}
	}
}

// describeConfig lists what a host's configuration sets, for people.
func describeConfig(r configReport, h netconf.Host) string {
	switch {
	case !r.Found:
		return r.File + " does not exist, or is not for this user: the conflists alone say what holds.\n"
	case len(h.Entries()) == 0:
		return r.File + " is valid, and sets nothing.\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is valid. For each key, the first of these that sets it holds.\n\n", r.File)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "SOURCE\tKEY\tVALUE")
	conflist := "conflist\t...\t...\n"
	for _, e := range h.Entries() {
		if e.Networks == "" {
			_, _ = fmt.Fprint(t, conflist)
			conflist = ""
		}
		source := e.Source()
		for _, key := range slices.Sorted(maps.Keys(e.Sets)) {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", source, key, e.Sets[key])
			source = ""
		}
	}
	_, _ = fmt.Fprint(t, conflist)
	_ = t.Flush() // a Builder takes all
	return b.String()
}

// sources returns a table of where the values of networks come from. Without a host's
// configuration it is empty: then a value comes from the conflist, or nobody set it.
func sources(networks []firewall.Network) string {
	if !slices.ContainsFunc(networks, isFromHost) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nWhat sets it, the conflist or %s:\n", hostFile)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NETWORK\tPOLICY\tPUBLISHED PORTS\tBACKEND\tADMIN CHAIN\tFIREWALLD ZONE")
	for _, n := range networks {
		row := n.Name
		for _, key := range []string{
			policy.KeyIngressPolicy, policy.KeyPublishedPorts, policy.KeyBackend, policy.KeyAdminChain, policy.KeyZone,
		} {
			row += "\t" + orDash(n.Sources[key])
		}
		_, _ = fmt.Fprintln(t, row)
	}
	_ = t.Flush() // a Builder takes all
	return b.String()
}

// isFromHost reports whether the host's configuration sets anything of a network.
func isFromHost(n firewall.Network) bool {
	for _, source := range n.Sources {
		if source != netconf.FromConflist && source != netconf.Unset {
			return true
		}
	}
	return false
}
