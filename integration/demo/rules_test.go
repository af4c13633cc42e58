// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func listing(rules ...string) string {
	return "# iptables\n" + strings.Join(rules, "\n") + "\n"
}

func TestDifference(t *testing.T) {
	t.Parallel()
	own := "-A FORWARD -s 192.0.2.1/32 -j DROP"
	accept := "-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT"
	clean := slices.Concat([]string{own}, staying)

	for _, c := range []struct {
		name  string
		after []string
		want  []string
	}{
		{"clean", clean, nil},
		{"a container's rule", slices.Concat(clean, []string{accept}), []string{"iptables: left behind: " + accept}},
		{"a jump twice", slices.Concat(clean, staying[2:3]), []string{"iptables: left behind: " + staying[2]}},
		{"the operator's rule gone", staying, []string{"iptables: lost: " + own}},
		{"the operator's chain gone", clean[:1], []string{
			"iptables: lost: " + staying[0], "iptables: lost: " + staying[1],
			"iptables: lost: " + staying[2], "iptables: lost: " + staying[3],
		}},
	} {
		if diff := cmp.Diff(c.want, difference(listing(own), listing(c.after...), staying)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestOfPlugin(t *testing.T) {
	t.Parallel()
	got := ofPlugin(listing("-P FORWARD ACCEPT", "-N CNI-ADMIN", "-N CUSTOM", "-A FORWARD -j CNI-FORWARD", "-A FORWARD -j CUSTOM"))
	if diff := cmp.Diff(listing("-N CNI-ADMIN", "-A FORWARD -j CNI-FORWARD"), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
