// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// The variants of iptables keep their rules apart, and the kernel applies those of both.
// When a host switches its alternative while containers run, the rules stay where they
// are: they go on isolating, and they go on accepting addresses that are other
// containers' by then. So what is removed is removed from both variants, and what the
// current one holds is removed from the other. Bridges of other plugins keep what they
// have there.

// otherVariant has, by a word in the name of a variant's program, the word of the other.
var otherVariant = map[string]string{"nft": "legacy", "legacy": "nft"}

// RemoveFormer removes a rule set's bridges and addresses from the other variant, and the
// chains that nobody uses any more.
func (s *Snapshot) RemoveFormer(rs policy.RuleSet) error {
	found, missing := s.formers()
	return errors.Join(missing, removeFromFormers(found, rs))
}

func removeFromFormers(found []*family, rs policy.RuleSet) error {
	var errs []error
	for _, f := range found {
		err := f.read()
		if err == nil {
			err = f.apply(func(t *table) plan { return planRemoveFormer(t, rs.In(f.name)) })
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	return errors.Join(errs...)
}

// formers returns the families, of those that were read, in which the other variant holds
// a chain of the plugin's. It starts no program. The error names what cannot be removed,
// because the program is not there.
func (s *Snapshot) formers() ([]*family, error) {
	var found []*family
	var errs []error
	for _, name := range s.Families().List() {
		current := s.families[name].programs
		held, err := s.isHeld(name, current.otherVariant())
		if err == nil && held {
			f := &family{name: name}
			if f.programs, err = current.ofVariant(name, current.otherVariant()); err == nil {
				found = append(found, f)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: looking for rules of iptables-%s: %w", name, current.otherVariant(), err))
		}
	}
	return found, errors.Join(errs...)
}

// isHeld reports whether the kernel has a chain of the plugin's from a variant.
func (s *Snapshot) isHeld(f policy.Family, variant string) (bool, error) {
	if variant == "" || s.kernel == nil {
		return false, nil
	}
	return s.kernel.HasChain(f, variant, policy.PluginChains)
}

// otherVariant returns the word of the variant that the programs are not. It is empty
// where their names do not tell: a script may stand in for them.
func (p programs) otherVariant() string {
	for word, other := range otherVariant {
		if isVariant(p.list, word) {
			return other
		}
	}
	return ""
}

// ofVariant returns the programs of a variant: beside the current ones, or wherever
// programs are.
func (p programs) ofVariant(f policy.Family, word string) (programs, error) {
	list, err := p.beside(programNames[f].list + "-" + word)
	if err != nil {
		return programs{}, err
	}
	restore, err := p.beside(programNames[f].list + "-" + word + "-restore")
	return programs{list, restore}, err
}

func (p programs) beside(name string) (string, error) {
	target, err := filepath.EvalSymlinks(p.list)
	if err != nil {
		return "", err
	}
	path, err := exec.LookPath(filepath.Join(filepath.Dir(target), name))
	if err != nil {
		path, err = look(name)
	}
	if err != nil {
		return "", fmt.Errorf("%s is %w, and its tables hold rules of the plugin", name, ErrNotInstalled)
	}
	return path, nil
}

// planRemoveFormer is planRemove for a variant that no call writes to any more: with the
// last rule of the plugin, CNI-FORWARD goes, too, and the operator's chain if it is empty.
func planRemoveFormer(t *table, rs policy.RuleSet) plan {
	p := planRemove(t, rs)
	return slices.Concat(p, p.deleteForward(t))
}

// deleteForward returns the changes that delete CNI-FORWARD and the operator's chains that
// it leads to, or none where another rule is in them, or leads there.
func (p plan) deleteForward(t *table) plan {
	if !t.chains[chainCNIForward] {
		return nil
	}
	chains := []string{chainCNIForward}
	admin := t.matching(chainCNIForward, isAdminJump)
	for _, r := range admin {
		chains = append(chains, r.target())
	}
	var more plan
	more.deleteRules(t, chainForward, jumpForward)
	more.deleteRules(t, chainCNIForward, admin...)
	if slices.Concat(p, more).leadsTo(t, chains) {
		return nil
	}
	for _, chain := range chains {
		more = append(more, change{op: deleteChain, chain: chain})
	}
	return more
}

// leadsTo reports whether a rule that the plan leaves is in one of some chains, or leads
// to one.
func (p plan) leadsTo(t *table, chains []string) bool {
	for chain, rules := range t.allRules() {
		for _, r := range rules {
			isDeleted := func(c change) bool { return c.op == deleteRule && c.chain == chain && c.rule.key() == r.key() }
			isUse := slices.Contains(chains, chain) || slices.Contains(chains, r.target())
			if isUse && !slices.ContainsFunc(p, isDeleted) {
				return true
			}
		}
	}
	return false
}
