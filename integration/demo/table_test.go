// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// seen returns a path by which the probes saw some verdicts.
func seen(to string, expect host.Verdict, verdicts ...host.Verdict) path {
	p := path{from: place{name: "shop1"}, to: destination{place: place{name: to}}, expect: expect}
	for _, v := range verdicts {
		p.probes = append(p.probes, probe{kind: kind{tcp, policy.IPv4}, seen: v})
	}
	return p
}

func TestCell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path path
		want string
	}{
		{seen("", host.Open), ""},
		{seen("", host.Open, host.Open, host.Open), "open"},
		{seen("", host.Blocked, host.Blocked, host.Blocked), "-"},
		{seen("", host.Blocked, host.Open, host.Open), "OPEN!"},
		{seen("", host.Open, host.Blocked, host.Blocked), "BLOCKED!"},
		{seen("", host.Blocked, host.Refused, host.Refused), "REFUSED!"},
		{seen("", host.Open, stranger, stranger), "STRANGER!"},
		{seen("", host.Blocked, host.Open, host.Blocked), "PARTLY OPEN!"},
		{seen("", host.Open, broken, host.Blocked), "WRONG!"},
	} {
		if got := c.path.cell(output{}).text; got != c.want {
			t.Errorf("expecting %s, with %v: got %q, want %q", c.path.expect, c.path.probes, got, c.want)
		}
	}
}

func TestGridAndComplaint(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	out := output{Writer: &text}
	row := []path{
		seen("shop1", host.Open),
		seen("shop2", host.Open, host.Open),
		seen("blog1", host.Blocked, host.Open),
		seen("vault1", host.Blocked, host.Blocked),
	}
	out.grid(grid([][]path{row}, out))
	out.print("%s\n", row[2].complaint())
	want := `from \ to  shop1  shop2  blog1  vault1
shop1             open   OPEN!  -
shop1 to blog1: expected blocked, but TCP IPv4 open
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPaint(t *testing.T) {
	t.Parallel()
	if got := (output{coloured: true}).good("open"); got != "\x1b[32mopen\x1b[0m" {
		t.Errorf("coloured: got %q", got)
	}
	if got := (output{}).good("open"); got != "open" {
		t.Errorf("plain: got %q", got)
	}
}
