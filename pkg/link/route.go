// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RouteTo returns the index of the interface by which the host routes to an address. It
// returns 0 where there is no route but the default route, and where the route leads
// nowhere: to the host itself, or into a blackhole. Of a route with several next hops it
// returns that which the kernel takes for the host's own packets.
func (Kernel) RouteTo(address netip.Addr) (index int, err error) {
	r, err := routeTo(address, unix.RTM_F_FIB_MATCH)
	if err == nil && r.leadsOn() && r.index == 0 {
		r, err = routeTo(address, 0)
	}
	if err != nil {
		return 0, fmt.Errorf("asking for the route to %s: %w", address, err)
	}
	if !r.leadsOn() {
		return 0, nil
	}
	return r.index, nil
}

// route is the kernel's answer. With RTM_F_FIB_MATCH (IPv4 and IPv6, from Linux 4.13 on)
// it is the route as it was added, whose next hops, or a next hop object of IPv6, hide
// the interface. Without, it is what becomes of a packet.
type route struct {
	kind   uint8 // RTN_UNICAST, …
	prefix uint8 // bits that match
	index  int   // of the interface; 0 if the answer has none
}

func (r route) leadsOn() bool { return r.kind == unix.RTN_UNICAST && r.prefix > 0 }

// routeTo asks for a route. Without one it returns the zero route.
func routeTo(address netip.Addr, flags uint32) (r route, err error) {
	msg := &nl.RtMsg{}
	msg.Family, msg.Dst_len, msg.Flags = unix.AF_INET, uint8(address.BitLen()), flags
	if address.Is6() {
		msg.Family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, address.AsSlice()))
	messages, err := ask(req, unix.RTM_NEWROUTE)
	switch {
	case isNoRoute(err):
		return route{}, nil
	case err != nil:
		return route{}, err
	case len(messages) != 1:
		return route{}, fmt.Errorf("the kernel answered with %d routes", len(messages))
	}
	return parseRoute(messages[0])
}

// isNoRoute reports whether an error is the kernel's answer where there is no route, or
// one that leads nowhere: unreachable, prohibit, blackhole.
func isNoRoute(err error) bool {
	for _, number := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

func parseRoute(message []byte) (r route, err error) {
	if len(message) < unix.SizeofRtMsg {
		return route{}, fmt.Errorf("an rtnetlink message of %d bytes is too short", len(message))
	}
	header := nl.DeserializeRtMsg(message)
	r.kind, r.prefix = header.Type, header.Dst_len
	err = eachAttr(message[unix.SizeofRtMsg:], func(kind uint16, value []byte) error {
		if kind == unix.RTA_OIF {
			r.index = parseIndex(value)
		}
		return nil
	})
	return r, err
}

// Way is where a packet goes that the host sends to an address.
type Way struct {
	Index   int  // of the interface; 0 for nowhere
	IsLocal bool // to the host itself
}

// WayTo returns the way to an address, by whatever route.
func (Kernel) WayTo(address netip.Addr) (Way, error) {
	r, err := routeTo(address, 0)
	if err != nil {
		return Way{}, fmt.Errorf("asking for the way to %s: %w", address, err)
	}
	return Way{r.index, r.kind == unix.RTN_LOCAL}, nil
}
