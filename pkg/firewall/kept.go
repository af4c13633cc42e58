// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// keptIfName stands for the interface in the adopted record of a bridge that stays isolated
// after its last recorded container, because another port may be a container's: one of
// upstream's plugin has no record. Nothing tells it from the port of an LXC container. The
// record lets whoever comes next know of the isolation, and remove it once the port is gone.
const keptIfName = "kept"

// kept returns the attachment that stands for a bridge in the place of one that is removed.
func kept(a policy.Attachment) policy.Attachment {
	k := policy.Attachment{
		Network: AdoptedNetwork, ContainerID: strings.Join(a.Inbound(), "/"), IfName: keptIfName,
		Bridge: a.Bridge, Interfaces: a.Interfaces,
		IngressPolicy: a.IngressPolicy, PublishedPorts: a.PublishedPorts, Backend: a.Backend,
	}
	if f := a.Families(); f != policy.BothFamilies {
		k.IsolatedIn = f
	}
	return k
}

func isKept(e *store.Entry) bool { return isAdopted(e) && e.Key == keyOf(kept(e.Attachment)) }

// keep records the bridges that stay isolated although a removal takes their last recorded
// container.
func (fw *Engine) keep(r *records, d *removal) {
	asked := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(d.records)) {
		e := d.records[file]
		a := e.Attachment
		if !a.IngressPolicy.Isolates() || asked[a.Bridge] {
			continue
		}
		asked[a.Bridge] = true
		if len(r.remainingOn(a.Bridge, d)) > 0 {
			continue
		}
		ports, err := r.otherPorts(a.Bridge, d.ports)
		if err != nil || len(ports) == 0 {
			continue // an error keeps the bridge isolated, and is told of there
		}
		if err := r.put(kept(a)); err != nil {
			fw.warn(err)
			continue
		}
		fw.warn(fw.explained(diagnosis.Kept(a.Bridge, portLeft(ports[0]))))
	}
}

func portLeft(p link.Link) string { return fmt.Sprintf("its port %q is left", p.Name) }

// checkKept returns an error that names the bridges which are isolated for the sake of a port
// without a record.
func (r records) checkKept(all []policy.Attachment) error {
	var errs []error
	for _, a := range all {
		if a.Network != AdoptedNetwork || a.IfName != keptIfName {
			continue
		}
		ports, err := r.otherPorts(a.Bridge, portSet{})
		why := "no port is left, and nobody has removed it yet"
		if len(ports) > 0 {
			why = portLeft(ports[0])
		}
		if err == nil {
			err = diagnosis.Kept(a.Bridge, why)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
