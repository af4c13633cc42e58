// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Event says that rules may be missing.
type Event struct {
	// Driver is whose rules: policy.Table, or policy.Filter for those of iptables,
	// which the variant nf_tables keeps in the tables "filter".
	Driver policy.DriverName

	Process int  // number of the one that changed them, or 0
	Own     bool // it is the plugin
}

// groupNFTables is NFNLGRP_NFTABLES, which x/sys does not have.
const groupNFTables = 7

// unknown are the events of a message that was lost, or cannot be parsed.
var unknown = []Event{{Driver: policy.Table}, {Driver: policy.Filter}}

// Watch calls happened after every change by which rules of the plugin may be missing,
// its own changes too, until the context is done. Before the first call it calls ready.
func Watch(ctx context.Context, ready func(), happened func(Event)) error {
	fd, err := openEvents()
	if err != nil {
		return fmt.Errorf("watching nftables: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	ready()
	buffer := make([]byte, 64<<10) // a message has at most NLMSG_GOODSIZE, which is 8 KiB
	for ctx.Err() == nil {
		events, err := receiveEvents(fd, buffer)
		if err != nil {
			return fmt.Errorf("watching nftables: %w", err)
		}
		for _, e := range events {
			happened(e)
		}
	}
	return nil
}

// openEvents opens a socket that gets a message for each change of any table.
func openEvents() (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
		return 0, err
	}
	// The flush of a thousand containers takes some 2 MB. What does not fit is lost, and
	// the loss is an event.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	// The timeout is how soon the end of the context is seen.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (groupNFTables - 1)})
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

// receiveEvents waits for one message, but not for long.
func receiveEvents(fd int, buffer []byte) ([]Event, error) {
	n, _, flags, from, err := unix.Recvmsg(fd, buffer, nil, 0)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil, nil
	case errors.Is(err, unix.ENOBUFS): // the kernel dropped what was not read fast enough
		return unknown, nil
	case err != nil:
		return nil, err
	}
	if sender, isNetlink := from.(*unix.SockaddrNetlink); !isNetlink || sender.Pid != 0 {
		return nil, nil // not the kernel
	}
	if flags&unix.MSG_TRUNC != 0 {
		return unknown, nil
	}
	return eventsIn(buffer[:n]), nil
}

// eventsIn returns the events in a datagram, each once. It has the changes of one
// transaction, or some of them.
func eventsIn(datagram []byte) []Event {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return unknown
	}
	var events []Event
	for _, m := range messages {
		e, err := eventOf(m)
		if err != nil {
			return unknown
		}
		if e.Driver != "" && !slices.Contains(events, e) {
			events = append(events, e)
		}
	}
	return events
}

// eventOf returns the event that a message is, or one without a driver.
func eventOf(m syscall.NetlinkMessage) (Event, error) {
	driver, err := driverOf(m)
	process, isOwn := ownerOf(m.Header.Pid)
	return Event{driver, process, isOwn}, err
}

// driverOf returns whose rules may be missing after a change, if any may.
func driverOf(m syscall.NetlinkMessage) (policy.DriverName, error) {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return "", nil
	}
	if len(m.Data) < 4 {
		return "", errMalformed
	}
	kind, family := int(m.Header.Type&0xff), m.Data[0]
	table, chain, err := namesIn(kind, m.Data[4:])
	switch {
	case err != nil:
		return "", err
	case table == tableName && (family == packets.family || family == frames.family) && weakens(kind):
		return policy.Table, nil
	case table == "filter" && (family == unix.NFPROTO_IPV4 || family == unix.NFPROTO_IPV6) && deletesFrom(kind, chain):
		return policy.Filter, nil
	}
	return "", nil
}

// weakens reports whether the plugin's tables may hold less after a change. One may become
// dormant, and a rule may be put ahead of the others. What else is added takes nothing
// away.
func weakens(kind int) bool {
	return request{kind: kind}.deletes() || kind == unix.NFT_MSG_NEWTABLE || kind == unix.NFT_MSG_NEWRULE
}

// deletesFrom reports whether a change of a filter table of iptables may delete rules of
// the plugin.
func deletesFrom(kind int, chain string) bool {
	isOwn := chain == "FORWARD" || slices.Contains(policy.PluginChains, chain)
	return kind == unix.NFT_MSG_DELTABLE || isOwn && request{kind: kind}.deletes()
}

// namesIn returns the names of a table, and of a chain if the message is about one or
// about a rule.
func namesIn(kind int, attrs []byte) (table, chain string, err error) {
	chainAttr := map[int]int{
		unix.NFT_MSG_NEWCHAIN: unix.NFTA_CHAIN_NAME, unix.NFT_MSG_DELCHAIN: unix.NFTA_CHAIN_NAME,
		unix.NFT_MSG_NEWRULE: unix.NFTA_RULE_CHAIN, unix.NFT_MSG_DELRULE: unix.NFTA_RULE_CHAIN,
	}[kind]
	err = eachAttr(attrs, func(attr int, value []byte) error {
		switch attr {
		case unix.NFTA_TABLE_NAME: // in messages about anything else its number is the same
			table = parseString(value)
		case chainAttr:
			chain = parseString(value)
		}
		return nil
	})
	return table, chain, err
}
