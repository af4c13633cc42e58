// SPDX-License-Identifier: Apache-2.0

// Package link asks the kernel, over rtnetlink, about the bridges that containers
// are attached to: whether an interface is a bridge, which ports it has, and whether
// its frames meet the rules.
//
// A bridge switches the frames between two of its ports; the kernel does not route
// them. They meet the forward hook only if br_netfilter passes them to it
// (bridge-nf-call-iptables, for IPv6 bridge-nf-call-ip6tables). If it does not, no
// rule can isolate two containers of one bridge. The bridge itself can: it forwards
// nothing between two ports with the flag "isolated".
package link

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNotFound says that an interface does not exist, or no longer.
var ErrNotFound = errors.New("no such interface")

// Link is one network interface as rtnetlink describes it.
type Link struct {
	Index    int
	Name     string
	Kind     string // "bridge", "veth", …; empty for hardware
	Isolated bool   // of a bridge port: the flag of that name
	Up       bool   // as an administrator set it (IFF_UP)

	MasterIndex int  // what it is enslaved to: a bridge, a VRF; 0 for nothing
	LowerIndex  int  // what it stands on, or its peer, in this network namespace; else 0
	PeerAway    bool // what it stands on, or its peer, is in another network namespace

	// Of a bridge: whether its own settings pass frames to the rules, whatever the
	// sysctls of the namespace say.
	callIPTables, callIP6Tables bool
}

// IsBridge reports whether the link is a bridge.
func (l Link) IsBridge() bool { return l.Kind == "bridge" }

// IsContainerPort reports whether the link is a veth whose peer is in another
// network namespace. An uplink on the bridge is none, and must not be isolated.
func (l Link) IsContainerPort() bool { return l.Kind == "veth" && l.PeerAway }

// Kernel answers for the network namespace that the process runs in.
type Kernel struct{}

// ByName returns an interface of this network namespace. It finds alternative names,
// too; the Link has the kernel's own. If none has the name, the error wraps ErrNotFound.
func (Kernel) ByName(name string) (Link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	l, err := executeOne(req)
	if err != nil {
		return Link{}, fmt.Errorf("looking up interface %q: %w", name, err)
	}
	return l, nil
}

// ByIndex returns an interface of this network namespace. If none has the index, the
// error wraps ErrNotFound.
func (Kernel) ByIndex(index int) (Link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	l, err := executeOne(req)
	if err != nil {
		return Link{}, fmt.Errorf("looking up the interface with index %d: %w", index, err)
	}
	return l, nil
}

// executeOne sends a request that one interface answers.
func executeOne(req *nl.NetlinkRequest) (Link, error) {
	links, err := execute(req)
	if errors.Is(err, unix.ENODEV) {
		return Link{}, ErrNotFound
	}
	if err == nil && len(links) != 1 {
		err = fmt.Errorf("the kernel answered with %d interfaces", len(links))
	}
	if err != nil {
		return Link{}, err
	}
	return links[0], nil
}

// All returns the interfaces of this network namespace.
func (Kernel) All() ([]Link, error) {
	all, err := dump()
	if err != nil {
		return nil, fmt.Errorf("listing the interfaces: %w", err)
	}
	return all, nil
}

// Ports returns the ports of a bridge.
func (Kernel) Ports(bridge Link) ([]Link, error) {
	ports, err := dump(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge.Index))))
	if err != nil {
		return nil, fmt.Errorf("listing the ports of bridge %q: %w", bridge.Name, err)
	}
	return ports, nil
}

// dump lists the interfaces that attributes select.
func dump(attrs ...nl.NetlinkRequestData) (links []Link, err error) {
	// The kernel marks a dump as interrupted if any interface comes or goes meanwhile.
	const attempts = 100
	err = nl.ErrDumpInterrupted
	for n := 0; n < attempts && errors.Is(err, nl.ErrDumpInterrupted); n++ {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		for _, a := range attrs {
			req.AddData(a)
		}
		links, err = execute(req)
	}
	return links, err
}

// SetIsolated sets or clears the flag isolated of a bridge port.
func SetIsolated(port Link, on bool) error {
	flag := byte(0)
	if on {
		flag = 1
	}
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(port.Index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	info.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, []byte{flag})
	req.AddData(info)
	if _, err := ask(req, 0); err != nil {
		return fmt.Errorf("setting the flag isolated of bridge port %q to %d: %w", port.Name, flag, err)
	}
	return nil
}

// sockets has the one socket of the process, for all its requests.
var sockets = sync.OnceValues(func() (map[int]*nl.SocketHandle, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group
	if err == nil {
		err = errors.Join(s.SetSendTimeout(&nl.SocketTimeoutTv), s.SetReceiveTimeout(&nl.SocketTimeoutTv))
	}
	return map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}, err
})

// ask sends a request and returns the kernel's answers of one type.
func ask(req *nl.NetlinkRequest, answer uint16) ([][]byte, error) {
	var err error
	if req.Sockets, err = sockets(); err != nil {
		return nil, err
	}
	return req.Execute(unix.NETLINK_ROUTE, answer)
}

func execute(req *nl.NetlinkRequest) ([]Link, error) {
	messages, err := ask(req, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	links := make([]Link, 0, len(messages))
	for _, m := range messages {
		l, err := parse(m)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// parse parses the body of one RTM_NEWLINK message.
func parse(message []byte) (Link, error) {
	var l Link
	if len(message) < unix.SizeofIfInfomsg {
		return l, fmt.Errorf("an rtnetlink message of %d bytes is too short", len(message))
	}
	header := nl.DeserializeIfInfomsg(message)
	l.Index, l.Up = int(header.Index), header.Flags&unix.IFF_UP != 0
	err := eachAttr(message[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) error {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = nl.BytesToString(value)
		case unix.IFLA_LINK_NETNSID:
			l.PeerAway = true
		case unix.IFLA_MASTER:
			l.MasterIndex = parseIndex(value)
		case unix.IFLA_LINK:
			l.LowerIndex = parseIndex(value)
		case unix.IFLA_LINKINFO:
			return l.parseInfo(value)
		}
		return nil
	})
	if l.PeerAway {
		l.LowerIndex = 0 // it is a number of the other namespace
	}
	return l, err
}

// parseIndex returns 0 for what is no interface index.
func parseIndex(value []byte) int {
	if len(value) != 4 {
		return 0
	}
	return int(nl.NativeEndian().Uint32(value))
}

// parseInfo parses IFLA_LINKINFO. The attributes of a bridge and those of a port use
// the same numbers. The kind, which comes before them, says which they are.
func (l *Link) parseInfo(info []byte) error {
	var master string
	return eachAttr(info, func(kind uint16, value []byte) error {
		switch {
		case kind == nl.IFLA_INFO_KIND:
			l.Kind = nl.BytesToString(value)
		case kind == nl.IFLA_INFO_SLAVE_KIND:
			master = nl.BytesToString(value)
		case kind == nl.IFLA_INFO_DATA && l.Kind == "bridge":
			return eachAttr(value, l.setBridgeAttr)
		case kind == nl.IFLA_INFO_SLAVE_DATA && master == "bridge":
			return eachAttr(value, l.setPortAttr)
		}
		return nil
	})
}

func (l *Link) setBridgeAttr(kind uint16, value []byte) error {
	on := len(value) > 0 && value[0] != 0
	switch kind {
	case nl.IFLA_BR_NF_CALL_IPTABLES:
		l.callIPTables = on
	case nl.IFLA_BR_NF_CALL_IP6TABLES:
		l.callIP6Tables = on
	}
	return nil
}

func (l *Link) setPortAttr(kind uint16, value []byte) error {
	if kind == nl.IFLA_BRPORT_ISOLATED {
		l.Isolated = len(value) > 0 && value[0] != 0
	}
	return nil
}

func eachAttr(b []byte, do func(kind uint16, value []byte) error) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return fmt.Errorf("parsing rtnetlink attributes: %w", err)
	}
	for _, a := range attrs {
		if err := do(a.Attr.Type&^uint16(syscall.NLA_F_NESTED), a.Value); err != nil {
			return err
		}
	}
	return nil
}
