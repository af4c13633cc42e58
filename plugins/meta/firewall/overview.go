// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// overview is what "cni-firewall status" shows. Its JSON is an interface.
type overview struct {
	Networks []network `json:"networks"`
	InForce  bool      `json:"inForce"`           // what the networks ask for is so
	Problem  string    `json:"problem,omitempty"` // the first thing that is not
	Problems []problem `json:"problems"`          // all that is not, and what Warnings tell
	Warnings []string  `json:"warnings,omitempty"`

	dataDir string
	broken  []problem // those that keep it from being in force
}

// network is the containers of one network on one bridge, under one policy.
type network struct {
	Name           string                `json:"name"`
	Bridge         string                `json:"bridge,omitempty"`
	IngressPolicy  policy.IngressPolicy  `json:"ingressPolicy"`
	PublishedPorts policy.PublishedPorts `json:"publishedPorts"`
	Backend        policy.Backend        `json:"backend"`
	Containers     []container           `json:"containers"`
}

type container struct {
	ID        string   `json:"id"`
	IfName    string   `json:"ifName"`
	Addresses []string `json:"addresses"`
}

// look reads the records and the tables, and changes nothing.
func (p plugin) look(dataDir string) (overview, error) {
	s, err := store.Peek(dataDir)
	if err != nil {
		return overview{}, err
	}
	l := live{s, s.List()}
	all, unreadable := l.attachments()
	v := overview{Networks: networks(all), InForce: true, Problems: []problem{}, dataDir: dataDir}
	known := append(l.briefs(), all...) // a damaged record's name says something too
	sets := policy.ByDriver(known, known)
	h, difference, err := p.confirmed(sets, held.inForce)
	backends := backendsOf(l.Entries)
	wrong := []error{err, bridgesGone(all), kin(errDiffers, difference)}
	if difference != nil && slices.Contains(backends, policy.IPTables) {
		wrong = append(wrong, p.cutOff())
	}
	warnings := append([]error{unreadable}, l.Problems...)
	for _, name := range backends {
		o := h.obstacles(name)
		wrong, warnings = append(wrong, o.Forwarding), append(warnings, o.Published)
	}
	v.wrong(append(wrong, forwards(all))...)
	v.warn(warnings...)
	return v, nil
}

// wrong adds what keeps the rules from being in force.
func (v *overview) wrong(errs ...error) {
	v.broken = explain(errors.Join(errs...), v.dataDir)
	v.Problems = append(v.Problems, v.broken...)
	if len(v.broken) > 0 {
		v.InForce, v.Problem = false, v.broken[0].Problem
	}
}

// warn adds what does not.
func (v *overview) warn(errs ...error) {
	for _, p := range explain(errors.Join(errs...), v.dataDir) {
		v.Problems = append(v.Problems, p)
		v.Warnings = append(v.Warnings, p.Error())
	}
}

// networks groups attachments, sorted by everything that tells them apart.
func networks(all []policy.Attachment) []network {
	list := []network{}
	slices.SortFunc(all, func(a, b policy.Attachment) int {
		return slices.Compare(
			[]string{a.Network, a.Bridge, string(a.IngressPolicy), string(a.PublishedPorts), string(a.Backend), a.ContainerID, a.IfName},
			[]string{b.Network, b.Bridge, string(b.IngressPolicy), string(b.PublishedPorts), string(b.Backend), b.ContainerID, b.IfName})
	})
	for _, a := range all {
		n := network{Name: a.Network, Bridge: a.Bridge, IngressPolicy: a.IngressPolicy, PublishedPorts: a.PublishedPorts, Backend: a.Backend, Containers: []container{}}
		if len(list) == 0 || !list[len(list)-1].sameAs(n) {
			list = append(list, n)
		}
		if a.Network == adoptedNetwork {
			continue // what is on the bridge is not known
		}
		last := &list[len(list)-1]
		last.Containers = append(last.Containers, newContainer(a))
	}
	return list
}

func (n network) sameAs(other network) bool {
	return n.Name == other.Name && n.Bridge == other.Bridge && n.IngressPolicy == other.IngressPolicy &&
		n.PublishedPorts == other.PublishedPorts && n.Backend == other.Backend
}

func newContainer(a policy.Attachment) container {
	c := container{ID: a.ContainerID, IfName: a.IfName, Addresses: []string{}}
	for _, p := range a.Addresses {
		c.Addresses = append(c.Addresses, p.Addr().String())
	}
	return c
}

func (v overview) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeTable writes the overview for a person to read.
func (v overview) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NETWORK\tBRIDGE\tPOLICY\tPUBLISHED PORTS\tBACKEND")
	for _, n := range v.Networks {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Name, orDash(n.Bridge), n.IngressPolicy, n.PublishedPorts, n.Backend)
		for _, c := range n.Containers {
			_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t\t\n", shorten(c.ID), c.IfName, orDash(strings.Join(c.Addresses, ", ")))
		}
	}
	err := t.Flush()
	state := "\nThe kernel holds all the rules that it should.\n"
	if !v.InForce {
		state = ""
	}
	for _, p := range v.broken {
		state += p.lines()
	}
	_, stateErr := io.WriteString(w, state)
	return errors.Join(err, stateErr)
}

// lines returns the problem and its cure, each in a line of its own.
func (p problem) lines() string {
	text := "\nProblem: " + p.Problem + "\n"
	if p.Cure != "" {
		text += "Cure:    " + p.Cure + "\n"
	}
	return text
}

// shorten cuts a container's ID as container engines show it.
func shorten(id string) string { return id[:min(len(id), 12)] }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
