// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MissingModule says that the kernel refused a change because it lacks a module, and
// could not load it.
type MissingModule struct {
	Names []string // one of them at least is missing
	Err   error
}

// Error names the modules.
func (m *MissingModule) Error() string {
	return fmt.Sprintf("%v: the kernel lacks the module %s", m.Err, strings.Join(m.Names, " or "))
}

// Unwrap returns what was refused.
func (m *MissingModule) Unwrap() error { return m.Err }

// modules has, by the family of a table, the modules that bring expressions. The kernel
// has all other expressions in nf_tables itself; the counter in dynset, since 5.18. Where nft_meta_bridge is a module, it
// brings all of meta for bridges (nft_meta_select_ops).
var modules = map[byte]map[string]string{
	packets.family: {"ct": "nft_ct", "fib": "nft_fib_inet", "dynset": "nft_counter"},
	frames.family:  {"meta": "nft_meta_bridge", "dynset": "nft_counter"},
}

// setModule brings all sets to kernels before 5.7.
const setModule = "nf_tables_set"

// refusedBy adds to the kernel's error for a change what the kernel lacks, if that is
// the reason. Such an error by itself says no more than "no such file or directory".
func (tx transaction) refusedBy(index int, err error) error {
	r := tx.changes[index].request
	switch {
	case r.kind == unix.NFT_MSG_NEWRULE && errors.Is(err, unix.ENOENT):
		if names := tx.untriedModules(index); len(names) > 0 {
			return &MissingModule{names, err}
		}
	case r.kind == unix.NFT_MSG_NEWSET && errors.Is(err, unix.EOPNOTSUPP):
		return &MissingModule{[]string{setModule}, err}
	case r.kind == unix.NFT_MSG_NEWTABLE && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)):
		name := tx.changes[index].table.familyName
		return fmt.Errorf("%w: the kernel has no nf_tables for the family %s (CONFIG_NF_TABLES_%s)",
			err, name, strings.ToUpper(name))
	}
	return err
}

// untriedModules returns the modules that a rule needs and no rule ahead of it, which
// the kernel took.
func (tx transaction) untriedModules(index int) []string {
	tried := map[string]bool{}
	for _, c := range tx.changes[:index] {
		for _, name := range c.request.modules() {
			tried[name] = true
		}
	}
	return slices.DeleteFunc(tx.changes[index].request.modules(), func(name string) bool { return tried[name] })
}

// modules returns the modules that a new rule needs, each once.
func (r request) modules() []string {
	var names []string
	if r.kind != unix.NFT_MSG_NEWRULE {
		return nil
	}
	_ = eachAttrOf(r.attrs, unix.NFTA_RULE_EXPRESSIONS, func(list []byte) error {
		return eachAttr(list, func(_ int, attrs []byte) error {
			expression, _, err := splitExpr(attrs)
			if name := modules[r.family][expression]; name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
			return err
		})
	})
	return names
}
