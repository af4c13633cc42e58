// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// preload makes the host hold what upstream's plugin would have left there.
func (w *Worker) preload(containers []container) error {
	if !w.proven {
		if err := w.prove(); err != nil {
			return err
		}
		w.proven = true
	}
	if w.side.Firewalld {
		if err := trust(containers); err != nil {
			return err
		}
	}
	return w.restore(containers)
}

// restore writes upstream's rules.
func (w *Worker) restore(containers []container) error {
	if err := w.reset(); err != nil {
		return err
	}
	for program, ipv6 := range map[string]bool{"iptables-restore": false, "ip6tables-restore": true} {
		rules := upstreamRules(containers, ipv6, !w.side.Firewalld)
		if rules == "" {
			continue
		}
		if _, err := w.host.Feed(rules, program, "--noflush", "--wait"); err != nil {
			return err
		}
	}
	return nil
}

// prove has upstream's plugin really add some containers, two on each of two
// bridges, and compares what the kernel then holds with what is restored for
// them.
func (w *Worker) prove() error {
	b := w.side.Network.Bridges
	some := []container{w.container(0), w.container(1), w.container(b), w.container(b + 1)}
	if err := w.reset(); err != nil {
		return err
	}
	for _, c := range some {
		if _, err := w.program("ADD", c).run(); err != nil {
			return err
		}
	}
	really, err := w.host.Rules()
	if err != nil {
		return err
	}
	if err := w.restore(some); err != nil {
		return err
	}
	restored, err := w.host.Rules()
	if err == nil && inOrder(really) != inOrder(restored) {
		err = fmt.Errorf("what is preloaded is not what upstream's plugin writes:\n%s\nand not\n%s", restored, really)
	}
	return err
}

// inOrder sorts the lines that declare chains, whose order says nothing.
func inOrder(rules string) string {
	var declared, others []string
	for line := range strings.Lines(rules) {
		if strings.HasPrefix(line, "-N") {
			declared = append(declared, line)
		} else {
			others = append(others, line)
		}
	}
	slices.Sort(declared)
	return strings.Join(append(declared, others...), "")
}

// trust makes containers' addresses sources of firewalld's zone trusted.
func trust(containers []container) error {
	bus, err := dbus.SystemBusPrivate()
	if err == nil {
		err = bus.Auth(nil)
	}
	if err == nil {
		err = bus.Hello()
	}
	if err != nil {
		return err
	}
	defer func() { _ = bus.Close() }()
	const name = "org.fedoraproject.FirewallD1"
	zones := bus.Object(name, "/org/fedoraproject/FirewallD1")
	for _, c := range containers {
		for _, text := range c.addresses() {
			address := netip.MustParsePrefix(text).Addr()
			source := netip.PrefixFrom(address, address.BitLen()).String()
			err := zones.Call(name+".zone.addSource", 0, "trusted", source).Err
			if err != nil && !strings.Contains(err.Error(), "ZONE_ALREADY_SET") {
				return fmt.Errorf("adding source %s: %w", source, err)
			}
		}
	}
	return nil
}
