// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

// What a container with CAP_NET_RAW can do: send any frame, with any address.

// Protocols of frames.
const (
	EtherIPv4  = unix.ETH_P_IP
	EtherIPv6  = unix.ETH_P_IPV6
	EtherPPPoE = unix.ETH_P_PPP_SES
	EtherOwn   = 0x88b5 // of IEEE 802, for experiments
)

// Frame is what is sent: behind an Ethernet header, and perhaps a tag.
type Frame struct {
	To       net.HardwareAddr
	Tagged   bool // with VLAN 0, a priority tag: receivers take it for plain
	Protocol uint16
	Payload  []byte
}

func (f Frame) bytes(from net.HardwareAddr) []byte {
	b := append(append([]byte{}, f.To...), from...)
	if f.Tagged {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_8021Q)
		b = binary.BigEndian.AppendUint16(b, 0)
	}
	b = binary.BigEndian.AppendUint16(b, f.Protocol)
	return append(b, f.Payload...)
}

// Datagram returns the packet of a UDP datagram, and its protocol.
func Datagram(from, to netip.AddrPort, text string) (packet []byte, protocol uint16) {
	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(text)))
	udp = append(binary.BigEndian.AppendUint16(udp, 0), text...)
	pseudo := append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_UDP)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(udp)))
	binary.BigEndian.PutUint16(udp[6:], checksum(append(pseudo, udp...)))
	if from.Addr().Is4() {
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0}
		ip = append(append(ip, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(udp)))
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		return append(ip, udp...), EtherIPv4
	}
	ip := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(udp)))
	ip = append(ip, unix.IPPROTO_UDP, 64)
	ip = append(append(ip, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	return append(ip, udp...), EtherIPv6
}

// checksum is that of the Internet (RFC 1071).
func checksum(b []byte) uint16 {
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// Hardware returns the address of an interface in the container.
func (c *Container) Hardware(name string) (address net.HardwareAddr, err error) {
	err = c.ns.Do(func(ns.NetNS) error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			address = i.HardwareAddr
		}
		return err
	})
	return address, err
}

// Raw sends frames from the container's eth0.
func (c *Container) Raw(frames ...Frame) error {
	return c.ns.Do(func(ns.NetNS) error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for _, f := range frames {
			if err := unix.Sendto(fd, f.bytes(i.HardwareAddr), 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
				return fmt.Errorf("sending a frame from %s: %w", c.Name, err)
			}
		}
		return nil
	})
}

// Arrives reports whether a datagram whose text is a number that is made for it arrives
// at a container that serves its port.
func (c *Container) Arrives(patience time.Duration, send func(text string) error) (Verdict, error) {
	number, arrived := strconv.FormatInt(sent.Add(1), 10), make(chan struct{})
	c.awaited.Store(number, arrived)
	if err := send(number); err != nil {
		return "", err
	}
	select {
	case <-arrived:
		return Open, nil
	case <-naps.until(patience):
	}
	if _, missing := c.awaited.LoadAndDelete(number); !missing {
		return Open, nil
	}
	return Blocked, nil
}

// Sees reports whether a frame with a text in it arrives at the container's eth0.
func (c *Container) Sees(patience time.Duration, send func(text string) error) (Verdict, error) {
	var fd int
	err := c.ns.Do(func(ns.NetNS) (err error) {
		all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
		return err
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	text := "frame " + strconv.FormatInt(sent.Add(1), 10) + "."
	if err := send(text); err != nil {
		return "", err
	}
	over := naps.until(patience)
	buffer := make([]byte, 2000)
	for {
		for n := 0; n >= 0; {
			if n, _, err = unix.Recvfrom(fd, buffer, 0); err == nil && bytes.Contains(buffer[:n], []byte(text)) {
				return Open, nil
			}
		}
		select {
		case <-over:
			return Blocked, nil
		case <-time.After(time.Millisecond):
		}
	}
}
