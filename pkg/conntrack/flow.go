// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// flow is a connection as the kernel reports it.
type flow struct {
	family   uint8        // AF_INET or AF_INET6
	status   uint32       // bits of enum ip_conntrack_status
	ends     []filter     // the sources of both directions
	identity []*nl.RtAttr // what a deletion names: tuple, zone and number
}

// Numbers that package nl lacks (linux/netfilter/nfnetlink_conntrack.h and
// nf_conntrack_common.h).
const (
	ctaFilter           = 25
	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2
	filterSource        = 1 << 0 // CTA_FILTER_F_CTA_IP_SRC

	statusDNAT    = 1 << 5
	statusOffload = 1 << 14
)

// parse parses the body of one message about a connection.
func parse(message []byte) (flow, error) {
	var f flow
	if len(message) < nl.SizeofNfgenmsg {
		return f, fmt.Errorf("a message of %d bytes is too short", len(message))
	}
	f.family = message[0]
	err := eachAttr(message[nl.SizeofNfgenmsg:], func(kind uint16, value []byte) error {
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			f.identity = append(f.identity, nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, value))
			return f.addEnd(nl.CTA_TUPLE_ORIG, value)
		case nl.CTA_TUPLE_REPLY:
			return f.addEnd(nl.CTA_TUPLE_REPLY, value)
		case nl.CTA_ZONE, nl.CTA_ID:
			f.identity = append(f.identity, nl.NewRtAttr(int(kind), value))
		case nl.CTA_STATUS:
			if len(value) == 4 {
				f.status = uint32(value[0])<<24 | uint32(value[1])<<16 | uint32(value[2])<<8 | uint32(value[3])
			}
		}
		return nil
	})
	return f, err
}

// addEnd adds the source of one direction.
func (f *flow) addEnd(direction int, tuple []byte) error {
	return eachAttr(tuple, func(kind uint16, value []byte) error {
		if kind != nl.CTA_TUPLE_IP {
			return nil
		}
		return eachAttr(value, func(kind uint16, address []byte) error {
			a, ok := netip.AddrFromSlice(address)
			if ok && (kind == nl.CTA_IP_V4_SRC || kind == nl.CTA_IP_V6_SRC) {
				f.ends = append(f.ends, filter{a, direction})
			}
			return nil
		})
	})
}

func (f flow) addresses() []netip.Addr {
	var all []netip.Addr
	for _, end := range f.ends {
		all = append(all, end.address)
	}
	return all
}

// isOf reports whether one of the addresses sends in a direction of the connection.
func (f flow) isOf(wanted map[filter]bool) bool {
	return slices.ContainsFunc(f.ends, func(end filter) bool { return wanted[end] })
}

func eachAttr(b []byte, do func(kind uint16, value []byte) error) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return fmt.Errorf("parsing attributes: %w", err)
	}
	for _, a := range attrs {
		if err := do(a.Attr.Type&^uint16(syscall.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), a.Value); err != nil {
			return err
		}
	}
	return nil
}

// filter has the kernel report only connections in which an address sends in one
// direction. The zero filter reports all.
type filter struct {
	address netip.Addr
	tuple   int // nl.CTA_TUPLE_ORIG or nl.CTA_TUPLE_REPLY
}

// filtersOf returns the filters for what addresses opened, and for what led to them: they
// send the replies, redirected or not. Each takes a walk.
func filtersOf(addresses []netip.Addr) []filter {
	var all []filter
	for _, a := range addresses {
		all = append(all, filter{a, nl.CTA_TUPLE_ORIG}, filter{a, nl.CTA_TUPLE_REPLY})
	}
	return all
}

func (f filter) family() uint8 {
	switch {
	case !f.address.IsValid():
		return unix.AF_UNSPEC
	case f.address.Is4():
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (f filter) addTo(req *nl.NetlinkRequest) {
	if !f.address.IsValid() {
		return
	}
	field := nl.CTA_IP_V4_SRC
	if f.address.Is6() {
		field = nl.CTA_IP_V6_SRC
	}
	which := ctaFilterOrigFlags
	if f.tuple == nl.CTA_TUPLE_REPLY {
		which = ctaFilterReplyFlags
	}
	flags := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	flags.AddRtAttr(which, nl.Uint32Attr(filterSource))
	req.AddData(flags)
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|f.tuple, nil)
	tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil).AddRtAttr(field, f.address.AsSlice())
	req.AddData(tuple)
}
