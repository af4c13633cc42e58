// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"cmp"
	"strings"
	"testing"
)

// packet is a forwarded packet: of a new connection, or, with a direction, of a
// connection that the host redirected. With loopback, that was from 127.0.0.1.
type packet struct {
	in, out, redirected string
	loopback            bool
}

// checkVerdicts fails where a packet between isolated bridges of the sample is not
// dropped, and where a packet to a published port does not pass. It follows the
// rules by itself, so that a mistake in the plan's idea of order shows.
func checkVerdicts(t *testing.T, host *fakeTable, bridges ...string) {
	t.Helper()
	for _, p := range packets(bridges) {
		allows := map[string]string{"ORIGINAL": p.out, "REPLY": p.in}[p.redirected] // the bridge with the port
		want := "DROP"
		switch {
		case !p.loopback && (allows == "br1" || allows == "br2"):
			want = "ACCEPT"
		case p.in == p.out && p.in != "br2":
			want = ""
		}
		if got := verdict(host, "FORWARD", p); got != want {
			t.Fatalf("%+v: got verdict %q, want %q in\n%s", p, got, want, host.list())
		}
	}
}

// packets returns a packet of each kind from each bridge to each.
func packets(bridges []string) []packet {
	var all []packet
	for _, in := range bridges {
		for _, out := range bridges {
			all = append(all, packet{in: in, out: out})
			for _, direction := range []string{"ORIGINAL", "REPLY"} {
				all = append(all, packet{in, out, direction, false}, packet{in, out, direction, true})
			}
		}
	}
	return all
}

// verdict walks a packet through a chain. It is empty where the walk comes to
// CNI-FORWARD or to the end of the chain.
func verdict(host *fakeTable, chain string, p packet) string {
	for _, text := range host.rules[chain] {
		if !p.matches(text) {
			continue
		}
		switch target := rule(text).target(); target {
		case "DROP", "ACCEPT":
			return target
		case "RETURN", chainCNIForward:
			return ""
		default:
			if v := verdict(host, target, p); v != "" {
				return v
			}
		}
	}
	return ""
}

// matches knows the matches that the sample's rules use.
func (p packet) matches(text string) bool {
	state := map[bool]string{true: "DNAT"}[p.redirected != ""]
	for _, condition := range []struct {
		option, word string
		want         bool
	}{
		{"! -i ", p.in, false}, {"-i ", p.in, true}, {"! -o ", p.out, false}, {"-o ", p.out, true},
		{"! --ctstate ", state, false}, {"--ctstate ", state, true},
		{"--ctdir ", cmp.Or(p.redirected, "ORIGINAL"), true},
		{"--ctorigdst ", map[bool]string{true: "127.0.0.0/8"}[p.loopback], true},
	} {
		if _, after, has := strings.Cut(text, condition.option); has {
			word, rest, _ := strings.Cut(after, " ")
			if (word == condition.word) != condition.want {
				return false
			}
			text = rest
		}
	}
	return !strings.HasPrefix(text, "-s ") && !strings.HasPrefix(text, "-d ")
}
