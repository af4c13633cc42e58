// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// networkOf returns a network on a bridge of its own.
func networkOf(name string, p policy.IngressPolicy, ports policy.PublishedPorts) firewall.Network {
	return firewall.Network{Name: name, Bridge: name + "0", IngressPolicy: p, PublishedPorts: ports}
}

func withoutColour(_, text string) string { return text }

func TestMatrix(t *testing.T) {
	t.Parallel()
	v := firewall.Survey{Networks: []firewall.Network{
		networkOf("blue", policy.SameBridge, policy.Allow),
		networkOf("red", policy.Isolated, policy.Deny),
		networkOf("vault", policy.Strict, policy.Allow),
		networkOf("web", policy.Open, policy.Allow),
	}}
	want := `   FROM \ TO  1      2    3      4    outside  host
1  blue       all    -    ports  all  all      all
2  red        ports  -    ports  all  all      all
3  vault      ports  -    all    all  all      all
4  web        all    all  ports  all  all      all
5  outside    all    all  ports  all           all
6  host       all    all  all    all  all
`
	if diff := cmp.Diff(want+matrixLegend, matrix(v, withoutColour)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	rows := newMatrix(v)
	wantRow := matrixRow{From: "outside", Reaches: []string{"blue", "red", "web", "host"}, Published: []string{"vault"}, Nothing: []string{}}
	if diff := cmp.Diff(wantRow, rows[4]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMatrixOfMany has networks of equal policies share a row, but for two on one bridge.
func TestMatrixOfMany(t *testing.T) {
	t.Parallel()
	var v firewall.Survey
	for i := range 100 {
		v.Networks = append(v.Networks, networkOf(fmt.Sprint("net", i), policy.SameBridge, policy.Allow))
	}
	v.Networks[98].Bridge, v.Networks[99].Bridge = "shared", "shared"
	v.Networks = append(v.Networks, networkOf("apart", policy.Isolated, policy.Allow), networkOf("lone", policy.Isolated, policy.Allow))
	want := `   FROM \ TO                     1          2      3      4      outside  host
1  net0, net1, net2 and 95 more  all/ports  ports  ports  ports  all      all
2  net98                         ports      all    all    ports  all      all
3  net99                         ports      all    all    ports  all      all
4  apart, lone                   ports      ports  ports  ports  all      all
5  outside                       all        all    all    all             all
6  host                          all        all    all    all    all
`
	if diff := cmp.Diff(want, strings.TrimSuffix(matrix(v, withoutColour), matrixLegend)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMatrixColours has a terminal alone get colours, and not where they are not wanted.
func TestMatrixColours(t *testing.T) {
	t.Parallel()
	inBrackets := func(_, text string) string { return "[" + text + "]" }
	v := firewall.Survey{Networks: []firewall.Network{networkOf("red", policy.Isolated, policy.Allow)}}
	text := matrix(v, inBrackets)
	if !strings.Contains(text, "1  red        [ports]  [all]      [all]\n") {
		t.Errorf("got\n%s", text)
	}
	var b strings.Builder
	if got := painterFor(&b)("32", "all"); got != "all" {
		t.Errorf("in a pipe: %q", got)
	}
}

// TestGraphOfStrict draws no arrow from the outside to a strict network that denies.
func TestGraphOfStrict(t *testing.T) {
	t.Parallel()
	outside := box{outside: true}
	for name, test := range map[string]struct {
		to   firewall.Network
		want policy.Reach
	}{
		"open":   {networkOf("n", policy.Open, policy.Deny), policy.Everything},
		"strict": {networkOf("n", policy.Strict, policy.Allow), policy.PublishedOnly},
		"closed": {networkOf("n", policy.IsolatedStrict, policy.Deny), policy.Nothing},
	} {
		if got := reach(outside, box{Network: test.to}); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}
