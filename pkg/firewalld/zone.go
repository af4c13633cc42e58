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
// already.
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

// journalName is the name of firewalld in the journal.
const journalName = "firewalld"

// describe names a source in the journal.
func describe(zone string, source netip.Prefix) string {
	return "source " + source.String() + " of zone " + zone
}

// conflict adds to an error the zone that has the source.
func (c *Conn) conflict(source netip.Prefix, err error) error {
	holder, askErr := c.zoneOfSource(source)
	if askErr != nil {
		return errors.Join(err, askErr)
	}
	return fmt.Errorf("%w: zone %q has it: run \"firewall-cmd --zone=%s --remove-source=%s\", or set firewalldZone to %q",
		err, holder, holder, source, holder)
}

// unknownZone adds to an error the zones that there are.
func (c *Conn) unknownZone(err error) error {
	var zones []string
	if askErr := c.zone("getZones", nil, &zones); askErr != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrUnknownZone, err), fmt.Errorf("asking for the zones: %w", askErr))
	}
	slices.Sort(zones)
	return fmt.Errorf("%w: %w: firewalldZone must be one of %s", ErrUnknownZone, err, strings.Join(zones, ", "))
}

// errMoved says that a source is in another zone than the one it was added to.
var errMoved = errors.New("somebody moved it")

// removeSource removes a source from a zone. It is no error that the source is in no
// zone, that the zone is gone, or that firewalld is gone and its sources with it.
func (c *Conn) removeSource(zone string, source netip.Prefix) error {
	var where string
	began := time.Now()
	err := c.zone("removeSource", []any{zone, source.String()}, &where)
	switch {
	case hasCode(err, "UNKNOWN_SOURCE", "NOT_ENABLED"), errors.Is(err, ErrNotRunning):
		return nil
	case hasCode(err, "ZONE_CONFLICT", "INVALID_ZONE"):
		err = c.moved(source)
	default:
		journal.Tell(journalName, began, journal.Removed(describe(zone, source)), err)
	}
	if err != nil {
		return fmt.Errorf("removing source %s from zone %q: %w", source, zone, err)
	}
	return nil
}

// moved returns an error that names the zone that has the source by now, or nil where
// none has it.
func (c *Conn) moved(source netip.Prefix) error {
	holder, err := c.zoneOfSource(source)
	if err != nil || holder == "" {
		return err
	}
	return fmt.Errorf("%w to zone %q", errMoved, holder)
}

// querySource asks whether an address is a source of a zone.
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

// zoneOfSource returns the zone that has the source, or nothing.
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

// strictForwardPorts asks whether firewalld drops connections that other programs
// redirect: StrictForwardPorts of firewalld.conf, since version 2.3.
func (c *Conn) strictForwardPorts() (bool, error) {
	text, err := c.property(configPath, configInterface, "StrictForwardPorts")
	var unknown refusal
	if errors.As(err, &unknown) { // older than 2.3
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for firewalld's StrictForwardPorts: %w", err)
	}
	return text == "yes" || text == "true", nil
}
