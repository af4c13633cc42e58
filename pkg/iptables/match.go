// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// condition is an option of a rule ahead of its target.
type condition struct {
	isNegated bool
	option    string
	values    []string
}

// conditions returns the options of a rule ahead of its target.
func (r rule) conditions() []condition {
	var all []condition
	isNegated := false
	for word, starts := range words(string(r)) {
		switch {
		case word == "!" && starts:
			isNegated = true
		case starts || isNegated && strings.HasPrefix(word, "-"):
			if word == "-j" || word == "-g" {
				return all
			}
			all = append(all, condition{isNegated, word, nil})
			isNegated = false
		case len(all) > 0:
			last := &all[len(all)-1]
			last.values = append(last.values, word)
		}
	}
	return all
}

// matches reports whether the packet meets all conditions of a rule.
func (w *walk) matches(r rule) policy.Truth {
	least := policy.Always
	for _, c := range r.conditions() {
		t := w.meets(c)
		if c.isNegated {
			t = t.Not()
		}
		least = min(least, t)
	}
	return least
}

// judged are the matches whose options are judged each by itself.
var judged = []string{"comment", "conntrack", "state", "tcp", "udp", "multiport", "addrtype", "mark", "rpfilter"}

// meets reports whether the packet meets a condition, as if it were not negated.
func (w *walk) meets(c condition) policy.Truth {
	value := ""
	if len(c.values) > 0 {
		value = c.values[0]
	}
	switch c.option {
	case "-m":
		return max(policy.Maybe, policy.Known(slices.Contains(judged, value)))
	case "--comment", "--validmark", "--loose", "--accept-local":
		return policy.Always
	case "--invert": // of rpfilter: the source is taken for an honest one
		return policy.Never
	case "--dst-type":
		return w.isType(value)
	case "--mark":
		return w.mark.is(value)
	}
	if strings.HasPrefix(c.option, "--ct") || c.option == "--state" {
		return w.meetsConnection(c.option, value)
	}
	return w.meetsHeader(c.option, value)
}

// meetsHeader compares interfaces, addresses and ports.
func (w *walk) meetsHeader(option, value string) policy.Truth {
	p := w.packet
	switch option {
	case "-i":
		return policy.Known(isNamed(value, p.In.Name))
	case "-o":
		return policy.Known(isNamed(value, p.Out.Name))
	case "-s":
		return isWithin(value, p.Source)
	case "-d":
		return isWithin(value, p.Destination)
	case "-p":
		return isProtocol(value, p.Protocol)
	case "--dport", "--dports":
		return isPort(value, p, false)
	case "--sport", "--sports":
		return isPort(value, p, true)
	}
	return policy.Maybe
}

// meetsConnection compares what conntrack knows.
func (w *walk) meetsConnection(option, value string) policy.Truth {
	switch option {
	case "--ctstate", "--state":
		return policy.Known(slices.ContainsFunc(strings.Split(value, ","), w.hasState))
	case "--ctdir":
		return policy.Known(w.packet.IsReply == (value == "REPLY"))
	case "--ctorigdst":
		return isWithin(value, w.original())
	}
	return policy.Maybe
}

// hasState reports whether the packet's connection is in a state of conntrack.
func (w *walk) hasState(name string) bool {
	switch name {
	case "NEW":
		return !w.packet.IsReply
	case "ESTABLISHED":
		return w.packet.IsReply
	case "DNAT":
		return w.packet.IsRedirected()
	}
	return false // RELATED, INVALID, UNTRACKED; SNAT comes later
}

// original returns where the connection was sent first.
func (w *walk) original() netip.Addr {
	switch p := w.packet; {
	case p.IsRedirected():
		return p.Original.Addr()
	case p.IsReply:
		return p.Source
	default:
		return p.Destination
	}
}

func isNamed(pattern, name string) bool {
	if prefix, isPrefix := strings.CutSuffix(pattern, "+"); isPrefix {
		return name != "" && strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// isWithin reports whether an address is in one of a list of prefixes. A mask may be
// written as an address.
func isWithin(list string, a netip.Addr) policy.Truth {
	result := policy.Never
	for text := range strings.SplitSeq(list, ",") {
		if !strings.Contains(text, "/") {
			text += "/" + strconv.Itoa(a.BitLen())
		}
		prefix, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			result = max(result, policy.Maybe)
		case !a.IsValid():
			result = max(result, policy.Maybe)
		case prefix.Contains(a):
			return policy.Always
		}
	}
	return result
}

// isProtocol compares a protocol. Of no packet is it known whether it is another one than
// TCP and UDP.
func isProtocol(value, protocol string) policy.Truth {
	name := map[string]string{"6": "tcp", "17": "udp"}[value]
	if name == "" {
		name = value
	}
	if protocol == "" && name != "all" {
		return policy.Maybe
	}
	return policy.Known(name == "all" || name == protocol)
}

// isPort compares the port that a connection leads to. Where it comes from is not known.
func isPort(list string, p policy.Packet, isSource bool) policy.Truth {
	if p.Port == 0 || isSource != p.IsReply {
		return policy.Maybe
	}
	for text := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(text, ":")
		if !isRange {
			to = from
		}
		low, errLow := strconv.ParseUint(cmp.Or(from, "0"), 10, 16)
		high, errHigh := strconv.ParseUint(cmp.Or(to, "65535"), 10, 16)
		switch {
		case errLow != nil || errHigh != nil:
			return policy.Maybe
		case uint64(p.Port) >= low && uint64(p.Port) <= high:
			return policy.Always
		}
	}
	return policy.Never
}

// isType compares the kind of the destination.
func (w *walk) isType(value string) policy.Truth {
	switch value {
	case "LOCAL":
		return policy.Known(w.packet.IsLocal)
	case "UNICAST":
		return policy.Known(!w.packet.IsLocal)
	case "BROADCAST", "MULTICAST":
		return policy.Never
	}
	return policy.Maybe
}

// mark is the mark of a packet. It begins as 0.
type mark struct {
	value     uint64
	isUnknown bool
}

// parseMark parses a value and its mask.
func parseMark(text string) (value, mask uint64, err error) {
	first, second, hasMask := strings.Cut(text, "/")
	mask = 0xffffffff
	if value, err = strconv.ParseUint(first, 0, 32); err == nil && hasMask {
		mask, err = strconv.ParseUint(second, 0, 32)
	}
	return value, mask, err
}

func (m *mark) set(text string, perhaps bool) {
	value, mask, err := parseMark(text)
	m.isUnknown = m.isUnknown || perhaps || err != nil
	m.value = m.value&^mask ^ value
}

func (m *mark) is(text string) policy.Truth {
	value, mask, err := parseMark(text)
	if err != nil || m.isUnknown {
		return policy.Maybe
	}
	return policy.Known(m.value&mask == value)
}
