// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// sight is the Sight of the network namespace that the process runs in.
type sight struct {
	link.Kernel

	table *nftables.Driver
}

// tables are those of all programs.
type tables []policy.Tables

// Decide returns what any of the tables decides.
func (t tables) Decide(p policy.Packet) (all []policy.Decision) {
	for _, some := range t {
		all = append(all, some.Decide(p)...)
	}
	return all
}

// Tables reads the rules of iptables as its programs show them, and those of nftables. Of a
// table that both show, iptables knows its matches.
func (s sight) Tables() (policy.Tables, error) {
	saved, err := iptables.ReadSaved()
	var all tables
	for _, t := range saved {
		all = append(all, t)
	}
	isShown := func(family, table string) bool {
		return slices.ContainsFunc(saved, func(t *iptables.Saved) bool { return t.Shows(family, table) })
	}
	rules, rulesErr := s.table.ReadRuleset(isShown)
	return append(all, rules), errors.Join(err, rulesErr)
}

// nftTimeout is how long nft may take to list a chain.
const nftTimeout = 10 * time.Second

// Text has nft list the chain.
func (sight) Text(d policy.Decision) string {
	number := fmt.Sprintf("# handle %d", d.Handle)
	ctx, cancel := context.WithTimeout(context.Background(), nftTimeout)
	defer cancel()
	listing, err := exec.CommandContext(ctx, "nft", "-a", "list", "chain", d.Family, d.Table, d.Chain).Output()
	if err != nil {
		return number
	}
	for line := range strings.Lines(string(listing)) {
		if text, is := strings.CutSuffix(strings.TrimSpace(line), number); is {
			return strings.TrimSpace(text)
		}
	}
	return number
}

// Addresses returns the addresses of all interfaces, those of bridges last.
func (sight) Addresses() ([]netip.Addr, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing the host's interfaces: %w", err)
	}
	var others, ofBridges []netip.Addr
	for _, l := range all {
		addresses, err := addressesOf(l)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat("/sys/class/net/" + l.Name + "/bridge"); err == nil {
			ofBridges = append(ofBridges, addresses...)
		} else {
			others = append(others, addresses...)
		}
	}
	return append(others, ofBridges...), nil
}

func addressesOf(l net.Interface) (addresses []netip.Addr, err error) {
	all, err := l.Addrs()
	if err != nil {
		return nil, fmt.Errorf("listing the addresses of interface %q: %w", l.Name, err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addresses = append(addresses, p.Addr().Unmap())
		}
	}
	return addresses, nil
}

// ForwardingSysctl reads a sysctl. For IPv6 the kernel asks only that of all interfaces
// (ip6_forward).
func (sight) ForwardingSysctl(f policy.Family, in string) (name string, on bool, err error) {
	all, name := "net.ipv4.ip_forward", "net.ipv4.conf."+in+".forwarding"
	path := "/proc/sys/net/ipv4/conf/" + in + "/forwarding"
	if f == policy.IPv6 {
		all, name, path = "", "net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"
	}
	if on, err = isSwitchedOn(path); err != nil || on || all == "" {
		return name, on, err
	}
	if on, err = isSwitchedOn("/proc/sys/net/ipv4/ip_forward"); err == nil && !on {
		name = all
	}
	return name, false, err
}

func isSwitchedOn(sysctl string) (bool, error) {
	text, err := os.ReadFile(sysctl)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // the interface has just gone, or the kernel has no IPv6
	}
	if err != nil {
		return false, fmt.Errorf("reading a sysctl: %w", err)
	}
	return strings.TrimSpace(string(text)) != "0", nil
}
