// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// fields are what expressions load of a packet.
type fields struct {
	packet             policy.Packet
	network, transport []partly
}

// partly is a byte that may be unknown.
type partly struct {
	b       byte
	isKnown bool
}

// Where fields are in the headers, in bytes.
const (
	protocolIPv4At    = 9
	protocolIPv6At    = 6
	destinationIPv4At = 16
	destinationIPv6At = 24
	sizeOfIPv4Header  = 20
	sizeOfIPv6Header  = 40
)

func fieldsOf(p policy.Packet) fields {
	f := fields{packet: p, transport: make([]partly, sizeOfIPv4Header)}
	protocol := protocolOf(p)
	if p.Family() == policy.IPv4 {
		f.network = make([]partly, sizeOfIPv4Header)
		put(f.network, 0, []byte{0x45})
		put(f.network, protocolIPv4At, protocol)
		put(f.network, sourceIPv4At, addressBytes(p.Source))
		put(f.network, destinationIPv4At, addressBytes(p.Destination))
	} else {
		f.network = make([]partly, sizeOfIPv6Header)
		put(f.network, protocolIPv6At, protocol)
		put(f.network, sourceIPv6At, addressBytes(p.Source))
		put(f.network, destinationIPv6At, addressBytes(p.Destination))
	}
	port := 2 // of the destination; that of the source is at 0
	if p.IsReply {
		port = 0
	}
	if p.Port != 0 {
		put(f.transport, port, binary.BigEndian.AppendUint16(nil, p.Port))
	}
	return f
}

func put(header []partly, at int, known []byte) {
	for i, b := range known {
		header[at+i] = partly{b, true}
	}
}

// protocolOf returns the number of the packet's protocol, or nil for any.
func protocolOf(p policy.Packet) loaded {
	switch p.Protocol {
	case "tcp":
		return loaded{unix.IPPROTO_TCP}
	case "udp":
		return loaded{unix.IPPROTO_UDP}
	}
	return nil
}

// addressBytes returns nil for an address that is not known.
func addressBytes(a netip.Addr) loaded {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

// payload returns a part of a header.
func (f fields) payload(e *expr.Payload) loaded {
	header := f.network
	switch e.Base {
	case expr.PayloadBaseTransportHeader:
		header = f.transport
	case expr.PayloadBaseNetworkHeader:
	default:
		return nil
	}
	end := int(e.Offset + e.Len)
	if end > len(header) {
		return nil
	}
	var l loaded
	for _, p := range header[e.Offset:end] {
		if !p.isKnown {
			return nil
		}
		l = append(l, p.b)
	}
	return l
}

// meta returns what the kernel notes of a packet, and its length in bytes. See
// nft_meta_get_eval.
func (f fields) meta(key expr.MetaKey) (loaded, int) {
	native := binary.NativeEndian
	p := f.packet
	switch key {
	case expr.MetaKeyNFPROTO:
		return loaded{familyOf[p.Family()]}, 1
	case expr.MetaKeyL4PROTO:
		return protocolOf(p), 1
	case expr.MetaKeyPROTOCOL:
		number := map[policy.Family]uint16{policy.IPv4: unix.ETH_P_IP, policy.IPv6: unix.ETH_P_IPV6}
		return binary.BigEndian.AppendUint16(nil, number[p.Family()]), 2
	case expr.MetaKeyIIF:
		return native.AppendUint32(nil, uint32(p.In.Index)), 4
	case expr.MetaKeyOIF:
		return native.AppendUint32(nil, uint32(p.Out.Index)), 4
	case expr.MetaKeyIIFNAME:
		return loaded(interfaceKey(p.In.Name)), unix.IFNAMSIZ
	case expr.MetaKeyOIFNAME:
		return loaded(interfaceKey(p.Out.Name)), unix.IFNAMSIZ
	}
	return nil, unix.IFNAMSIZ
}

// Numbers of conntrack's keys that the library lacks (NFT_CT_… in nf_tables.h).
const (
	ctKeySourceIPv4 = expr.CtKey(19)
	ctKeySourceIPv6 = expr.CtKey(21)
	ctKeyDestIPv6   = expr.CtKey(22)
)

// Bits of a connection's status (IPS_… in nf_conntrack_common.h).
const (
	ipsSeenReply   = 1 << 1
	ipsDstNATDone  = 1 << 8
	ipsSrcNATDone  = 1 << 7
	stateOfReplies = stateEstablished
)

// ct returns what conntrack knows of a packet's connection.
func (f fields) ct(e *expr.Ct) loaded {
	native, p := binary.NativeEndian, f.packet
	switch e.Key {
	case expr.CtKeySTATE:
		if p.IsReply {
			return native.AppendUint32(nil, stateOfReplies)
		}
		return native.AppendUint32(nil, stateNew)
	case expr.CtKeyDIRECTION:
		if p.IsReply {
			return loaded{directionReply}
		}
		return loaded{directionOriginal}
	case expr.CtKeySTATUS:
		return native.AppendUint32(nil, f.status())
	case expr.CtKeyMARK:
		return make(loaded, 4)
	case expr.CtKeyPROTOCOL:
		return protocolOf(p)
	case expr.CtKeyL3PROTOCOL:
		return loaded{familyOf[p.Family()]}
	case expr.CtKeySRC, ctKeySourceIPv4, ctKeySourceIPv6:
		return addressBytes(f.endOf(e.Direction, false))
	case expr.CtKeyDST, ctKeyDestinationIPv4, ctKeyDestIPv6:
		return addressBytes(f.endOf(e.Direction, true))
	case expr.CtKeyPROTODST:
		if p.IsRedirected() && p.Original.Port() != 0 && e.Direction == directionOriginal {
			return binary.BigEndian.AppendUint16(nil, p.Original.Port())
		}
	}
	return nil
}

// lacks reports whether a key is for another family. The kernel then goes on with the next
// rule (nft_ct_get_eval).
func (f fields) lacks(key expr.CtKey) bool {
	if f.packet.Family() == policy.IPv4 {
		return key == ctKeySourceIPv6 || key == ctKeyDestIPv6
	}
	return key == ctKeySourceIPv4 || key == ctKeyDestinationIPv4
}

func (f fields) status() uint32 {
	status := uint32(ipsSrcNATDone | ipsDstNATDone)
	if f.packet.IsReply {
		status |= ipsSeenReply
	}
	if f.packet.IsRedirected() {
		status |= ipsDstNAT
	}
	return status
}

// endOf returns an address of the connection, in one of its directions.
func (f fields) endOf(direction uint32, isDestination bool) netip.Addr {
	p := f.packet
	if p.IsReply {
		p.Source, p.Destination = p.Destination, p.Source
	}
	switch {
	case direction == directionReply && isDestination:
		return p.Source
	case direction == directionReply:
		return p.Destination
	case isDestination && p.IsRedirected():
		return p.Original.Addr()
	case isDestination:
		return p.Destination
	}
	return p.Source
}

// sizeOfCt returns the length of what a key loads, in bytes.
func sizeOfCt(e *expr.Ct) int {
	switch {
	case slices.Contains([]expr.CtKey{expr.CtKeyDIRECTION, expr.CtKeyL3PROTOCOL, expr.CtKeyPROTOCOL}, e.Key):
		return 1
	case e.Key == expr.CtKeyPROTODST || e.Key == expr.CtKeyPROTOSRC:
		return 2
	case e.Key == ctKeySourceIPv4 || e.Key == ctKeyDestinationIPv4:
		return 4
	case slices.Contains([]expr.CtKey{expr.CtKeySRC, expr.CtKeyDST, ctKeySourceIPv6, ctKeyDestIPv6}, e.Key):
		return 16
	}
	return 4
}

// fib loads what the host's routes say of the packet's addresses. The source is taken for
// an honest one: the host routes to it by where it came in.
func (m *machine) fib(e *expr.Fib) policy.Truth {
	const local, unicast = 2, 1 // RTN_LOCAL, RTN_UNICAST
	native, p := binary.NativeEndian, m.packet
	switch {
	case e.ResultADDRTYPE && e.FlagDADDR:
		kind := uint32(unicast)
		if p.IsLocal {
			kind = local
		}
		m.store(e.Register, native.AppendUint32(nil, kind), 4)
	case e.ResultADDRTYPE:
		m.store(e.Register, native.AppendUint32(nil, unicast), 4)
	case e.ResultOIF && e.FlagSADDR && e.FlagPRESENT:
		m.store(e.Register, loaded{1, 0, 0, 0}, 4)
	case e.ResultOIF && e.FlagSADDR:
		m.store(e.Register, native.AppendUint32(nil, uint32(p.In.Index)), 4)
	case e.ResultOIFNAME && e.FlagSADDR:
		m.store(e.Register, loaded(interfaceKey(p.In.Name)), unix.IFNAMSIZ)
	default:
		m.store(e.Register, nil, unix.IFNAMSIZ)
	}
	return policy.Always
}
