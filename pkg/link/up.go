// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// SetUp sets an interface up or down. One that is gone is down.
func (Kernel) SetUp(port Link, up bool) error {
	began := time.Now()
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Change = int32(port.Index), unix.IFF_UP
	if up {
		msg.Flags = unix.IFF_UP
	}
	req.AddData(msg)
	_, err := ask(req, 0)
	if errors.Is(err, unix.ENODEV) && !up {
		return nil
	}
	what := "up: port " + port.Name
	said := journal.Removed(what)
	if up {
		said = journal.Added(what)
	}
	journal.Tell("interface "+port.Name, began, said, err)
	if err != nil {
		return fmt.Errorf("setting interface %q up to %t: %w", port.Name, up, err)
	}
	return nil
}
