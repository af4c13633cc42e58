// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Choose returns the backend for a network that names none. A host that has part
// of iptables uses it, and is told what is missing. An error says that firewalld
// runs and does not answer: it might flush whatever was set beside it.
func (fw *Engine) Choose() (policy.Backend, error) { return fw.drivers.choose() }

func (d drivers) choose() (policy.Backend, error) {
	switch _, err := d.all[policy.Zones].Read(policy.BothFamilies); {
	case err == nil:
		return policy.Firewalld, nil
	case errors.Is(err, firewalld.ErrNotRunning):
	case firewalld.Absent(err):
		d.warn(fmt.Errorf("going on without firewalld: %w", err))
	default:
		return "", err
	}
	if installed, _ := d.all[policy.Filter].Installed(policy.BothFamilies); installed != 0 {
		return policy.IPTables, nil
	}
	return policy.NFTables, nil
}

// backendsOf returns the backends that entries name.
func backendsOf(entries []store.Entry) []policy.Backend {
	names := map[policy.Backend]bool{}
	for _, e := range entries {
		names[e.Attachment.Backend] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// driversOf returns the drivers that hold the rules of entries.
func driversOf(entries []store.Entry) []policy.DriverName {
	var names []policy.DriverName
	for _, backend := range backendsOf(entries) {
		names = append(names, backend.Drivers()...)
	}
	return names
}

// backendOf returns the backend that the ADD chose which wrote the records of an
// attachment. A call that died while it changed the backend left two.
func backendOf(own []store.Entry, configured policy.Backend) policy.Backend {
	names := backendsOf(own)
	if len(names) == 0 || slices.Contains(names, configured) {
		return configured
	}
	return names[0]
}
