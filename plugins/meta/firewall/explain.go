// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// explainReport is the JSON of "cni-firewall explain". It is an interface.
type explainReport struct {
	Paths    []pathReport        `json:"paths"`
	Problems []diagnosis.Problem `json:"problems"` // why there is no answer
}

// pathReport is what becomes of a connection in one family.
type pathReport struct {
	Family    string              `json:"family"`
	From      placeReport         `json:"from"`
	To        placeReport         `json:"to"`
	Protocol  string              `json:"protocol,omitempty"`  // empty for any
	Published string              `json:"published,omitempty"` // address and port of the host that lead there
	Verdict   firewall.Verdict    `json:"verdict"`
	Wanted    firewall.Verdict    `json:"wanted"` // by the policies
	Rules     []ruleReport        `json:"rules"`
	Problems  []diagnosis.Problem `json:"problems"`
}

type placeReport struct {
	Name      string      `json:"name"`
	Network   string      `json:"network,omitempty"`
	Address   *netip.Addr `json:"address,omitempty"`
	Port      uint16      `json:"port,omitempty"`
	Interface string      `json:"interface,omitempty"` // of the host
}

// ruleReport is a rule, or the policy of a chain, that decides.
type ruleReport struct {
	Program string         `json:"program,omitempty"` // of iptables; empty for a table of nft
	Table   string         `json:"table"`
	Chain   string         `json:"chain"`
	Rule    string         `json:"rule"`
	Outcome policy.Outcome `json:"outcome"`
}

func (p plugin) explain(in input) error {
	answer, err := p.answerTo(in)
	report := explainReport{Paths: []pathReport{}, Problems: problemsOf(err, in.dataDir())}
	for _, path := range answer.Paths {
		report.Paths = append(report.Paths, newPathReport(path))
	}
	if err := errors.Join(err, p.answer(in, report, describePaths(answer.Paths))); err != nil {
		return err
	}
	isWrong := func(path firewall.Path) bool { return path.Verdict != path.Wanted }
	if slices.ContainsFunc(answer.Paths, isWrong) {
		return errTold
	}
	return nil
}

func (p plugin) answerTo(in input) (firewall.Answer, error) {
	x, err := p.engineFor(in).Explainer()
	if err != nil {
		return firewall.Answer{}, err
	}
	return x.Explain(in.operands[0], in.operands[1])
}

func newPathReport(p firewall.Path) pathReport {
	r := pathReport{
		Family: p.Family.String(), From: newPlaceReport(p.From), To: newPlaceReport(p.To), Protocol: p.Protocol,
		Verdict: p.Verdict, Wanted: p.Wanted, Rules: []ruleReport{}, Problems: append([]diagnosis.Problem{}, p.Reasons...),
	}
	if p.Published.IsValid() {
		r.Published = p.Published.String()
	}
	for _, d := range p.Decisions {
		r.Rules = append(r.Rules, ruleReport{d.Program, tableOf(d), d.Chain, ruleOf(d), d.Outcome})
	}
	return r
}

func newPlaceReport(p firewall.Place) placeReport {
	r := placeReport{Name: p.Name, Network: p.Network(), Port: p.Port, Interface: p.Interface.Name}
	if p.Address.IsValid() && p.Name != firewall.TheOutside {
		r.Address = &p.Address
	}
	return r
}

func tableOf(d policy.Decision) string {
	if d.Program != "" {
		return d.Table
	}
	return d.Family + " " + d.Table
}

func ruleOf(d policy.Decision) string {
	if d.Rule == "" {
		return "policy drop"
	}
	return d.Rule
}

// describePaths describes each path. Of IPv6, one line is enough if there is nothing else to
// say than of IPv4.
func describePaths(paths []firewall.Path) string {
	var b strings.Builder
	for i, p := range paths {
		if i > 0 && isLike(p, paths[i-1]) {
			b.WriteString(headline(p) + " (likewise)\n")
			continue
		}
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(describePath(p))
	}
	return b.String()
}

// isLike reports whether two paths have the same verdict, in the same chains, for the same
// reasons.
func isLike(a, b firewall.Path) bool {
	isSameChain := func(d, e policy.Decision) bool { return d.Chain == e.Chain && d.Outcome == e.Outcome }
	return a.Verdict == b.Verdict && a.Wanted == b.Wanted && a.Published.IsValid() == b.Published.IsValid() &&
		slices.Equal(a.Reasons, b.Reasons) && slices.EqualFunc(a.Decisions, b.Decisions, isSameChain)
}

// headline says what becomes of a connection.
func headline(p firewall.Path) string {
	verdict := string(p.Verdict)
	if p.Verdict == firewall.Blocked {
		verdict = "BLOCKED"
	}
	return fmt.Sprintf("%s: %s: %s to %s%s", p.Family, verdict, describePlace(p.From), describePlace(p.To), describePort(p))
}

// describePath says what becomes of a connection, by which rules, and why.
func describePath(p firewall.Path) string {
	var b strings.Builder
	b.WriteString(headline(p) + "\n")
	if p.Published.IsValid() {
		fmt.Fprintf(&b, "  by port %d of the host (%s), which is published\n", p.Published.Port(), p.Published.Addr())
	}
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "  %s: %s\n", placeOf(d), ruleOf(d))
	}
	if len(p.Decisions) == 0 && p.Verdict == firewall.Open {
		b.WriteString("  no rule says anything about it\n")
	}
	for _, r := range p.Reasons {
		b.WriteString("Why:     " + r.Problem + "\n")
		if r.Cure != "" {
			b.WriteString("Change:  " + r.Cure + "\n")
		}
	}
	return b.String()
}

// placeOf says where a rule is.
func placeOf(d policy.Decision) string {
	if d.Program == "" {
		return fmt.Sprintf("table %s %s, chain %s", d.Family, d.Table, d.Chain)
	}
	if d.Table == "filter" {
		return d.Program + ", chain " + d.Chain
	}
	return fmt.Sprintf("%s, table %s, chain %s", d.Program, d.Table, d.Chain)
}

func describePlace(p firewall.Place) string {
	var of []string
	if network := p.Network(); network != "" {
		of = append(of, "network "+network)
	}
	if p.Address.IsValid() && p.Address.String() != p.Name && p.Name != firewall.TheOutside {
		of = append(of, p.Address.String())
	}
	if len(of) == 0 {
		return shortenName(p)
	}
	return shortenName(p) + " (" + strings.Join(of, ", ") + ")"
}

// shortenName shortens the ID of a container, which an address is not.
func shortenName(p firewall.Place) string {
	if p.Attachment == nil {
		return p.Name
	}
	return shorten(p.Name)
}

func describePort(p firewall.Path) string {
	if p.To.Port == 0 {
		return ""
	}
	return fmt.Sprintf(", port %d/%s", p.To.Port, p.Protocol)
}
