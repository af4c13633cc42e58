// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// familyOf has, by address family, that of the tables of iptables-nft.
var familyOf = map[policy.Family]byte{policy.IPv4: unix.NFPROTO_IPV4, policy.IPv6: unix.NFPROTO_IPV6}

// filterTable is the table of iptables-nft that the plugin has rules in.
const filterTable = "filter"

// HasChain reports whether the filter table of a variant of iptables, "nft" or "legacy",
// has one of some chains. It starts no program, and makes no table.
func (d *Driver) HasChain(f policy.Family, variant string, chains []string) (bool, error) {
	if variant == "legacy" {
		return legacyHasChain(familyOf[f], chains)
	}
	c, err := d.open()
	if errors.Is(err, ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	found, err := c.conn.hasChain(familyOf[f], filterTable, chains)
	return found, queryError(err)
}

func (c *conn) hasChain(family byte, table string, chains []string) (found bool, err error) {
	var requests []request
	for _, name := range chains {
		attrs := slices.Concat(attrString(unix.NFTA_CHAIN_TABLE, table), attrString(unix.NFTA_CHAIN_NAME, name))
		requests = append(requests, request{kind: unix.NFT_MSG_GETCHAIN, family: family, attrs: attrs})
	}
	err = c.query(func(reply) error {
		found = true
		return nil
	}, requests...)
	return found, err
}

// legacyHasChain looks for names of chains, each of which the kernel keeps in an entry.
func legacyHasChain(family byte, chains []string) (bool, error) {
	at := slices.IndexFunc(legacyTables, func(l legacyTable) bool { return l.family == family })
	r, err := legacyTables[at].read()
	if errors.Is(err, fs.ErrPermission) {
		return false, nil // it cannot be the caller's, either
	}
	if err != nil || r == nil {
		return false, err
	}
	isIn := func(chain string) bool { return bytes.Contains(r.entries, append([]byte(chain), 0)) }
	return slices.ContainsFunc(chains, isIn), nil
}

// Generation returns the number of the last change that the kernel made to any table, or
// 0 where it has no nf_tables. See DeleteRules.
func (d *Driver) Generation() (uint32, error) {
	c, err := d.open()
	if errors.Is(err, ErrUnsupported) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var s state
	err = c.conn.query(s.parseTable, request{kind: unix.NFT_MSG_GETGEN})
	return s.generation, queryError(err)
}

// errOtherRules says that the kernel's chain is not the one that was listed.
var errOtherRules = errors.New("the kernel has other rules than iptables lists")

// DeleteRules deletes rules of iptables-nft, and then chains: all in one transaction, or
// nothing. It does nothing unless all tables are as they were at a generation, which must
// not be 0: a rule is known by its place alone.
//
// Programs of iptables close their sockets after a deletion, one behind the other, and
// each waits for an RCU grace period. This connection stays open, and the end of the
// process waits once (nft_rcv_nl_event).
func (d *Driver) DeleteRules(generation uint32, deletions []policy.Deletion) error {
	c, err := d.open()
	if err != nil {
		return err
	}
	var rules, chains []request
	for _, del := range deletions {
		some, err := c.conn.deleteAt(del)
		if err != nil {
			return fmt.Errorf("chain %s: %w", del.Chain, err)
		}
		rules = append(rules, some...)
		if del.Whole {
			attrs := slices.Concat(attrString(unix.NFTA_CHAIN_TABLE, filterTable), attrString(unix.NFTA_CHAIN_NAME, del.Chain))
			chains = append(chains, request{kind: unix.NFT_MSG_DELCHAIN, family: familyOf[del.Family], attrs: attrs})
		}
	}
	return c.conn.write(generation, slices.Concat(rules, chains))
}

// deleteAt returns the requests that delete the rules at some places of a chain.
func (c *conn) deleteAt(del policy.Deletion) ([]request, error) {
	handles, err := c.handlesIn(del)
	if err != nil {
		return nil, queryError(err)
	}
	if len(handles) != del.Of {
		return nil, errOtherRules
	}
	of := slices.Concat(attrString(unix.NFTA_RULE_TABLE, filterTable), attrString(unix.NFTA_RULE_CHAIN, del.Chain))
	var requests []request
	for _, place := range del.Places {
		attrs := slices.Concat(of, attr(unix.NFTA_RULE_HANDLE, handles[place]))
		requests = append(requests, request{kind: unix.NFT_MSG_DELRULE, family: familyOf[del.Family], attrs: attrs})
	}
	return requests, nil
}

// handlesIn returns the handles of a chain's rules, in order.
func (c *conn) handlesIn(del policy.Deletion) (handles [][]byte, err error) {
	err = c.dump(func(r reply) error {
		return eachAttrOf(r.attrs, unix.NFTA_RULE_HANDLE, func(handle []byte) error {
			handles = append(handles, bytes.Clone(handle))
			return nil
		})
	}, dumpRules(familyOf[del.Family], filterTable, del.Chain), func() { handles = nil })
	return handles, err
}
