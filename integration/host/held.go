// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A test looks at the rules after every step, and most steps leave most tables
// as they were. The kernel tells that in microseconds; a program that lists a
// table needs milliseconds of a processor. So a table is listed again only where
// the kernel holds another one than when it was listed last.

// listing is what a program printed, and what the kernel held before.
type listing struct {
	held []byte
	text string
}

// listed returns what list printed last, if the kernel still holds the same, and
// else lists again. held is read first: a change that comes while list runs makes
// the next reading differ.
func (h *Host) listed(name string, held func() ([]byte, error), list func() (string, error)) (string, error) {
	now, err := held()
	if err != nil {
		return "", fmt.Errorf("asking for what the kernel holds of %s: %w", name, err)
	}
	if last, found := h.listings[name]; found && bytes.Equal(last.held, now) {
		return last.text, nil
	}
	text, err := list()
	if err != nil {
		return text, err
	}
	if h.listings == nil {
		h.listings = map[string]listing{}
	}
	h.listings[name] = listing{now, text}
	return text, nil
}

// heldOf returns all tables, chains and rules of a family as nf_tables sends
// them, which iptables-nft lists. Counters are in it: of rules that count, and
// that packets met, nothing is the same.
func heldOf(family uint8) ([]byte, error) {
	var all []byte
	for _, get := range []int{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
		objects, err := dump(get, family)
		if err != nil {
			return nil, err
		}
		all = append(all, bytes.Join(objects, nil)...)
	}
	return all, nil
}

// dump returns what nf_tables has of one kind of object, without the header, in
// which the number of the generation stands.
func dump(get int, family uint8) ([][]byte, error) {
	header := &nl.Nfgenmsg{NfgenFamily: family}
	objects, err := undisturbed(unix.NFNL_SUBSYS_NFTABLES<<8|get, unix.NETLINK_NETFILTER, header)
	for i, o := range objects {
		objects[i] = o[nl.SizeofNfgenmsg:]
	}
	return objects, err
}

// bridgePorts returns the names, bridges and flags of all ports of bridges as
// rtnetlink sends them.
func bridgePorts() ([]byte, error) {
	links, err := undisturbed(unix.RTM_GETLINK, unix.NETLINK_ROUTE, nl.NewIfInfomsg(unix.AF_BRIDGE))
	var all []byte
	for _, link := range links {
		link = link[unix.SizeofIfInfomsg:]
		all = slices.Concat(all, attribute(link, unix.IFLA_IFNAME), attribute(link, unix.IFLA_MASTER))
		flags, invalid := nl.ParseRouteAttr(attribute(link, unix.IFLA_PROTINFO))
		if invalid != nil {
			return nil, invalid
		}
		for _, f := range flags {
			if len(f.Value) == 1 { // the others are numbers, and timers, which run
				all = append(all, byte(f.Attr.Type), f.Value[0])
			}
		}
	}
	return all, err
}

// attribute returns the value of the first attribute of a type, or nothing.
func attribute(attributes []byte, kind uint16) []byte {
	all, err := nl.ParseRouteAttr(attributes)
	i := slices.IndexFunc(all, func(a syscall.NetlinkRouteAttr) bool { return a.Attr.Type&^unix.NLA_F_NESTED == kind })
	if err != nil || i < 0 {
		return nil
	}
	return all[i].Value
}

// undisturbed returns the answers of a dump. One that a change broke into is asked
// for again.
func undisturbed(get, protocol int, header nl.NetlinkRequestData) ([][]byte, error) {
	for {
		request := nl.NewNetlinkRequest(get, unix.NLM_F_DUMP)
		request.AddData(header)
		if answers, err := request.Execute(protocol, 0); !errors.Is(err, nl.ErrDumpInterrupted) {
			return answers, err
		}
	}
}

// hasTable reports whether there is an nftables table of a family.
func hasTable(family uint8, name string) (bool, error) {
	tables, err := dump(unix.NFT_MSG_GETTABLE, family)
	return slices.ContainsFunc(tables, func(table []byte) bool {
		return nl.BytesToString(attribute(table, unix.NFTA_TABLE_NAME)) == name
	}), err
}
