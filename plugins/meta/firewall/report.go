// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

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
}

type network struct {
	Name           string                `json:"name"`
	Bridge         string                `json:"bridge,omitempty"`
	IngressPolicy  policy.IngressPolicy  `json:"ingressPolicy"`
	PublishedPorts policy.PublishedPorts `json:"publishedPorts"`
	Backend        policy.Backend        `json:"backend"`
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
		r.Networks = append(r.Networks, network{n.Name, n.Bridge, n.IngressPolicy, n.PublishedPorts, n.Backend, containers})
	}
	if !r.InForce {
		r.Problem = r.Problems[0].Problem
	}
	for _, w := range v.Warnings {
		r.Problems, r.Warnings = append(r.Problems, w), append(r.Warnings, w.Error())
	}
	return r
}

func writeJSON(v firewall.Survey, w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(newReport(v))
}

// writeTable writes a survey for people.
func writeTable(v firewall.Survey, w io.Writer) error {
	state := describeAll(v.Problems)
	if v.Empty {
		_, err := io.WriteString(w, "No networks yet: a network is listed once a container was added to it.\n"+state)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NETWORK\tBRIDGE\tPOLICY\tPUBLISHED PORTS\tBACKEND")
	for _, n := range v.Networks {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Name, orDash(n.Bridge), n.IngressPolicy, n.PublishedPorts, n.Backend)
		for _, c := range n.Containers {
			_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t\t\n", shorten(c.ID), c.IfName, orDash(join(c.Addresses)))
		}
	}
	err := t.Flush()
	if v.InForce() {
		state = "\nThe kernel holds all the rules that it should.\n"
	}
	_, stateErr := io.WriteString(w, state)
	return errors.Join(err, stateErr)
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
