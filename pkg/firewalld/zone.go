// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// addSource makes an address a source of a zone. added is false where it was one
// before.
func (c *Conn) addSource(zone string, source netip.Prefix) (added bool, err error) {
	var where string
	began := time.Now()
	err = c.zone("addSource", []any{zone, source.String()}, &where)
	if !hasCode(err, "ZONE_ALREADY_SET") {
		journal.Tell(journalName, began, journal.Added(describe(zone, source)), err)
	}
	switch {
	case err == nil:
		return true, nil
	case hasCode(err, "ZONE_ALREADY_SET"):
		return false, nil
	case hasCode(err, "ZONE_CONFLICT"):
		err = c.conflict(source, err)
	case hasCode(err, "INVALID_ZONE"):
		err = c.unknownZone(err)
	}
	return false, fmt.Errorf("adding source %s to zone %q: %w", source, zone, err)
}

// place is what the journal calls firewalld.
const journalName = "firewalld"

func describe(zone string, source netip.Prefix) string {
	return "source " + source.String() + " of zone " + zone
}

// conflict says in which zone a source is already.
func (c *Conn) conflict(source netip.Prefix, err error) error {
	holder, askErr := c.zoneOfSource(source)
	if askErr != nil {
		return errors.Join(err, askErr)
	}
	return fmt.Errorf("%w: zone %q has it: run \"firewall-cmd --zone=%s --remove-source=%s\", or set firewalldZone to %q",
		err, holder, holder, source, holder)
}

// unknownZone says which zones there are.
func (c *Conn) unknownZone(err error) error {
	var zones []string
	if askErr := c.zone("getZones", nil, &zones); askErr != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrUnknownZone, err), fmt.Errorf("asking for the zones: %w", askErr))
	}
	slices.Sort(zones)
	return fmt.Errorf("%w: %w: firewalldZone must be one of %s", ErrUnknownZone, err, strings.Join(zones, ", "))
}

// errMoved says that a source is in another zone than it was added to.
var errMoved = errors.New("somebody moved it")

// removeSource takes a source out of a zone. That it is in none is no error, nor
// is a zone that is gone, or firewalld, and with it what it was told.
func (c *Conn) removeSource(zone string, source netip.Prefix) error {
	var where string
	began := time.Now()
	err := c.zone("removeSource", []any{zone, source.String()}, &where)
	gone := hasCode(err, "UNKNOWN_SOURCE", "NOT_ENABLED") || errors.Is(err, ErrNotRunning)
	if !gone && !hasCode(err, "ZONE_CONFLICT", "INVALID_ZONE") {
		journal.Tell(journalName, began, journal.Removed(describe(zone, source)), err)
	}
	switch {
	case err == nil, gone:
		return nil
	case hasCode(err, "ZONE_CONFLICT", "INVALID_ZONE"):
		holder, askErr := c.zoneOfSource(source)
		if askErr == nil && holder == "" {
			return nil
		}
		if askErr == nil {
			askErr = fmt.Errorf("%w to zone %q", errMoved, holder)
		}
		err = askErr
	}
	return fmt.Errorf("removing source %s from zone %q: %w", source, zone, err)
}

// querySource reports whether an address is a source of a zone.
func (c *Conn) querySource(zone string, source netip.Prefix) (is bool, err error) {
	err = c.zone("querySource", []any{zone, source.String()}, &is)
	if hasCode(err, "INVALID_ZONE") {
		err = c.unknownZone(err)
	}
	if err != nil {
		return false, fmt.Errorf("asking for source %s of zone %q: %w", source, zone, err)
	}
	return is, nil
}

// zoneOfSource returns the zone that has an address as a source, or nothing.
func (c *Conn) zoneOfSource(source netip.Prefix) (zone string, err error) {
	if err := c.zone("getZoneOfSource", []any{source.String()}, &zone); err != nil {
		return "", fmt.Errorf("asking for the zone of source %s: %w", source, err)
	}
	return zone, nil
}

// activeSources returns the sources of all zones, each with its zone.
func (c *Conn) activeSources() (map[string]string, error) {
	var active map[string]map[string][]string // by zone, "interfaces" and "sources"
	if err := c.zone("getActiveZones", nil, &active); err != nil {
		return nil, fmt.Errorf("asking for the sources of all zones: %w", err)
	}
	zones := map[string]string{}
	for zone, bound := range active {
		for _, source := range bound["sources"] {
			zones[source] = zone
		}
	}
	return zones, nil
}

// strictForwardPorts reports whether firewalld drops connections that others
// redirected (StrictForwardPorts in firewalld.conf, of version 2.3 and later).
func (c *Conn) strictForwardPorts() (bool, error) {
	text, err := c.property(configPath, configInterface, "StrictForwardPorts")
	var unknown refusal
	if errors.As(err, &unknown) { // an older version
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for firewalld's StrictForwardPorts: %w", err)
	}
	return text == "yes" || text == "true", nil
}
