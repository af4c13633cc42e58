// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// report is the JSON of "cni-firewall status -o json". It is an interface.
type report struct {
	Networks []network           `json:"networks"`
	InForce  bool                `json:"inForce"`           // the host holds what the networks ask for
	Problem  string              `json:"problem,omitempty"` // the first reason why it does not
	Problems []diagnosis.Problem `json:"problems"`          // all reasons, and the warnings
	Warnings []string            `json:"warnings,omitempty"`
	Matrix   []matrixRow         `json:"matrix,omitempty"` // with --matrix
}

type network struct {
	Name           string                `json:"name"`
	Bridge         string                `json:"bridge,omitempty"`
	IngressPolicy  policy.IngressPolicy  `json:"ingressPolicy"`
	PublishedPorts policy.PublishedPorts `json:"publishedPorts"`
	Backend        policy.Backend        `json:"backend"`
	Sources        policy.Sources        `json:"sources,omitempty"`
	Containers     []container           `json:"containers"`
}

type container struct {
	ID        string       `json:"id"`
	IfName    string       `json:"ifName"`
	Addresses []netip.Addr `json:"addresses"`
}

func newReport(v firewall.Survey) report {
	r := report{Networks: []network{}, InForce: v.InForce(), Problems: append([]diagnosis.Problem{}, v.Problems...)}
	for _, n := range v.Networks {
		containers := make([]container, len(n.Containers))
		for i, c := range n.Containers {
			containers[i] = container{c.ID, c.IfName, append([]netip.Addr{}, c.Addresses...)}
		}
		r.Networks = append(r.Networks, network{n.Name, n.Bridge, n.IngressPolicy, n.PublishedPorts, n.Backend, n.Sources, containers})
	}
	if !r.InForce {
		r.Problem = r.Problems[0].Problem
	}
	for _, w := range v.Warnings {
		r.Problems, r.Warnings = append(r.Problems, w), append(r.Warnings, w.Error())
	}
	return r
}

// restoreReport is the JSON of "cni-firewall restore". It is an interface, too.
type restoreReport struct {
	Restored *restored           `json:"restored,omitempty"` // only where everything was
	Problems []diagnosis.Problem `json:"problems"`
}

type restored struct {
	Attachments int `json:"attachments"`
	Bridges     int `json:"bridges"`
	Adopted     int `json:"adopted"`
}

// retireReport is the JSON of "cni-firewall retire".
type retireReport struct {
	Retired  bool                `json:"retired"`
	Problems []diagnosis.Problem `json:"problems"`
}

// watchReport is a line of JSON of "cni-firewall watch".
type watchReport struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	Result string    `json:"result"` // ok or failed, as in the log
	Said   string    `json:"said"`   // by restore
}

// versionReport is the JSON of "cni-firewall version".
type versionReport struct {
	Version     string   `json:"version"`
	CNIVersions []string `json:"cniVersions"`
}

// problemsOf returns what an error says, as a list that is not null in JSON. Of an error
// that says of several others what they kept from being done, it returns these, each with
// its cure.
func problemsOf(err error, dataDir string) []diagnosis.Problem {
	if cause := errors.Unwrap(err); cause != nil {
		if _, several := cause.(interface{ Unwrap() []error }); several {
			err = cause
		}
	}
	return append([]diagnosis.Problem{}, diagnosis.Explain(err, dataDir)...)
}

// overview describes a survey for people.
func overview(v firewall.Survey) string {
	state := describeAll(v.Problems)
	switch {
	case v.Empty:
		return "No networks yet: a network is listed once a container was added to it.\n" + state
	case v.InForce():
		state = "\nThe kernel holds all the rules that it should.\n"
	}
	return table(v.Networks) + sources(v.Networks) + state
}

func table(networks []firewall.Network) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NETWORK\tBRIDGE\tPOLICY\tPUBLISHED PORTS\tBACKEND")
	for _, n := range networks {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Name, orDash(n.Bridge), n.IngressPolicy, n.PublishedPorts, n.Backend)
		for _, c := range n.Containers {
			_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t\t\n", shorten(c.ID), c.IfName, orDash(join(c.Addresses)))
		}
	}
	_ = t.Flush() // a Builder takes all
	return b.String()
}

func describeAll(problems []diagnosis.Problem) string {
	text := ""
	for _, p := range problems {
		text += describe(p)
	}
	return text
}

// describe returns a problem and its cure, each on its own line.
func describe(p diagnosis.Problem) string {
	text := "\nProblem: " + p.Problem + "\n"
	if p.Cure != "" {
		text += "Cure:    " + p.Cure + "\n"
	}
	return text
}

// shorten cuts a container's ID to what container engines show.
func shorten(id string) string { return id[:min(len(id), 12)] }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func join(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
