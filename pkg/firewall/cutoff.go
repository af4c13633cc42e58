// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// The last DEL of a bridge takes its isolation away, and the container may still run:
// the bridge plugin deletes the port after this plugin's DEL, or never. So what is
// left of the bridge's ports is cut off first: it is set down. On a bridge that is
// isolated within, every DEL takes away what guards the port, and so cuts it off. An ADD
// of such a port sets it up again.

// cutOff sets the ports down that are removed or leaving, on bridges whose isolation
// goes, and those that lose their guard.
func (fw *Engine) cutOff(r records, d *removal, empty []policy.Bridge) error {
	var errs []error
	for _, b := range d.bridges {
		isGoing := func(e policy.Bridge) bool { return e.Name == b.Name && slices.Equal(e.Interfaces, b.Interfaces) }
		goes := slices.ContainsFunc(empty, isGoing) && slices.Contains(d.isolated, b.Name)
		guarded := slices.ContainsFunc(d.guarded, func(p policy.Port) bool { return p.Bridge == b.Name })
		if !goes && !guarded {
			continue
		}
		bridge, err := fw.ports.links.ByName(b.Name)
		if errors.Is(err, link.ErrNotFound) {
			continue
		}
		var ports []link.Link
		if err == nil {
			ports, err = fw.ports.links.Ports(bridge)
		}
		errs = append(errs, err)
		for _, p := range ports {
			if p.Up && p.IsContainerPort() && r.isLeaving(p, d) {
				errs = append(errs, fw.ports.links.SetUp(p, false))
			}
		}
	}
	return errors.Join(errs...)
}

// isLeaving reports whether a port is one of those that are removed now, or were
// earlier.
func (r records) isLeaving(p link.Link, d *removal) bool {
	return d.ports.has(p) || slices.Contains(r.Leaving, p.Index)
}

// bringBack sets the ports of added attachments up that a DEL cut off. The isolation
// stands by then.
func (fw *Engine) bringBack(r records, added []policy.Attachment) error {
	var errs []error
	for _, a := range added {
		if a.PortIndex == 0 || !slices.Contains(r.Leaving, a.PortIndex) {
			continue
		}
		port, err := byIndex(fw.ports.links, a.PortIndex)
		if err == nil && port.Index != 0 && !port.Up {
			err = fw.ports.links.SetUp(port, true)
		}
		if err == nil {
			err = r.store.ForgetLeaving(a.PortIndex)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
