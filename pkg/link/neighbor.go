// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ForgetNeighbor deletes what the kernel knows of an address on an interface, and with
// it the packets that wait for the address to be resolved. These have passed the forward
// hook, perhaps before anything isolated.
func (Kernel) ForgetNeighbor(index int, address netip.Addr) error {
	family := unix.AF_INET
	if address.Is6() {
		family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(unix.RTM_DELNEIGH, unix.NLM_F_ACK)
	req.AddData(&neighborMessage{family: uint8(family), index: uint32(index)})
	req.AddData(nl.NewRtAttr(unix.NDA_DST, address.AsSlice()))
	_, err := ask(req, 0)
	for _, gone := range []error{unix.ENOENT, unix.ENODEV, unix.ENXIO} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("deleting neighbor %s: %w", address, err)
	}
	return nil
}

// neighborMessage is struct ndmsg (linux/neighbour.h).
type neighborMessage struct {
	family uint8
	index  uint32
}

// Len returns the size in bytes.
func (m *neighborMessage) Len() int { return unix.SizeofNdMsg }

// Serialize returns the message as the kernel reads it.
func (m *neighborMessage) Serialize() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = m.family
	nl.NativeEndian().PutUint32(b[4:], m.index)
	return b
}
