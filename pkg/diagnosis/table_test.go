// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/store"
)

// common is an error of each kind that is explained, in the order of the table.
var common = []error{
	WithKind(ErrAlone, fmt.Errorf("%w: protocol not supported", nftables.ErrUnsupported)),
	WithKind(ErrNoIPv6, fmt.Errorf("ip6tables is %w", iptables.ErrNotInstalled)),
	fmt.Errorf("iptables is %w", iptables.ErrNotInstalled),
	fmt.Errorf("running iptables: %w", iptables.ErrUnusable),
	fmt.Errorf("IPv4: %w: /usr/sbin/iptables-legacy", iptables.ErrFormer),
	fmt.Errorf("%w: protocol not supported", nftables.ErrUnsupported),
	&nftables.MissingModule{Names: []string{"nft_ct"}, Err: errors.New("no such file or directory")},
	nftables.Foreign{Family: "inet"},
	firewalld.ErrNotRunning,
	fmt.Errorf("%w (10s)", firewalld.ErrNoAnswer),
	firewalld.ErrElsewhere,
	firewalld.ErrNotAuthorized,
	firewalld.ErrStrict,
	WithKind(ErrCutOff, &nftables.ForwardBlocker{Family: "ip", Table: "filter", Chain: "FORWARD", Program: "iptables"}),
	&nftables.ForwardBlocker{Family: "ip6", Table: "filter", Chain: "FORWARD", Program: "ip6tables-legacy"},
	&nftables.ForwardBlocker{Family: "inet", Table: "firewalld", Chain: "filter_FORWARD", ByRule: true, Interface: "br0"},
	&nftables.ForwardBlocker{
		Family: "ip", Table: "filter", Chain: "FORWARD", ByRule: true, Program: "iptables", Interface: "br0",
	},
	&nftables.ForwardBlocker{Family: "inet", Table: "guard", Chain: "passing", ByRule: true, Interface: "br0"},
	&nftables.ForwardBlocker{Family: "inet", Table: "guard", Chain: "passing"},
	&iptables.Unguarded{Program: "iptables", Bridge: "br0", Interface: "docker0"},
	Kept("br0", `port "veth0"`),
	&nftables.Flowtable{Family: "inet", Table: "firewalld", Name: "fastpath"},
	&nftables.Flowtable{Family: "ip", Table: "mine", Name: "fast"},
	BridgeGone("br0"),
	Unplugged("br0", "c1"),
	Deleted("net", "c1"),
	Unowned("iptables", []string{"br0", "10.1.0.2"}),
	Foreign("br0"),
	fmt.Errorf("port has %w", link.ErrFlag),
	notForwarding("net.ipv4.ip_forward"),
	fmt.Errorf("record: %w", store.ErrNewer),
	&store.FileError{File: "/run/x y"},
	&netconf.HostError{File: netconf.HostFile},
	WithKind(ErrDiffers, errors.New("IPv4: chain is missing")),
}

var placeholder = regexp.MustCompile(`\b(DETAIL|PROGRAM|MODULE|FAMILY|TABLE|CHAIN|SYSCTL|FILE|INTERFACE|BRIDGE)\b`)

// TestEachExplained has every row of the table found by its own error, and no
// word left that should have been replaced.
func TestEachExplained(t *testing.T) {
	t.Parallel()
	if len(common) != len(explanations) {
		t.Fatalf("%d errors for %d explanations", len(common), len(explanations))
	}
	for i, err := range common {
		p := explainOne(err, "")
		beginning, _, _ := strings.Cut(explanations[i].sentence, ": DETAIL")
		beginning, _, _ = strings.Cut(beginning, "PROGRAM")
		if !strings.HasPrefix(p.Problem, beginning) || !strings.HasSuffix(p.Problem, err.Error()) {
			t.Errorf("%v: got %s", err, p.Problem)
		}
		if left := placeholder.FindString(p.Problem + " " + p.Cure); left != "" {
			t.Errorf("%s is left in %q, %q", left, p.Problem, p.Cure)
		}
	}
}

func TestCures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err     error
		dataDir string
		want    string
	}{
		{common[14], "", "ip6tables-legacy -P FORWARD ACCEPT"},
		{common[15], "", "firewall-cmd --zone=trusted --add-interface=br0"},
		{common[16], "", "iptables -I FORWARD -i br0 -j ACCEPT && " +
			"iptables -I FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"},
		{common[17], "", `nft 'insert rule inet guard passing iifname "br0" accept; ` +
			`insert rule inet guard passing oifname "br0" ct state established,related accept; ` +
			`insert rule inet guard passing oifname "br0" ct status dnat accept'`},
		{common[18], "", "nft chain inet guard passing '{ policy accept; }'"},
		{common[19], "", "iptables -I FORWARD -i br0 -o docker0 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"},
		{common[23], "/run/cni/firewall", "cni-firewall restore"},
		{common[23], "/run/a b'c", `cni-firewall restore --data-dir '/run/a b'\''c'`},
		{common[29], "/run/other", "sysctl -w net.ipv4.ip_forward=1"},
		{common[31], "", "rm '/run/x y'"},
		{common[6], "", "modprobe nft_ct"},
		{common[22], "", "nft list table ip mine"},
		{&nftables.MissingModule{Names: []string{"nft_ct", "nft_fib_inet"}, Err: errors.New("refused")}, "",
			"modprobe -a nft_ct nft_fib_inet"},
		{errors.New("something else"), "", ""},
	} {
		if got := explainOne(test.err, test.dataDir).Cure; got != test.want {
			t.Errorf("%v: got %s, want %s", test.err, got, test.want)
		}
	}
}

// TestExplainJoined parts what was joined, leaves the rest whole, and says nothing
// twice.
func TestExplainJoined(t *testing.T) {
	t.Parallel()
	one, two := errors.New("one"), errors.New("two")
	for name, test := range map[string]struct {
		err  error
		want []string
	}{
		"none":            {nil, nil},
		"single":          {one, []string{"one"}},
		"joined":          {errors.Join(one, errors.Join(two, nil), one), []string{"one", "two"}},
		"wrapped":         {fmt.Errorf("%w: %w", one, two), []string{"one: two"}},
		"joined, wrapped": {fmt.Errorf("both: %w", errors.Join(one, two)), []string{"both: one; two"}},
	} {
		var got []string
		for _, p := range Explain(test.err, "") {
			got = append(got, p.Problem)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
	}
}

// TestTroubleshooting compares the table with the first one of the page that prints it.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/TROUBLESHOOTING.md")
	if err != nil {
		t.Fatal(err)
	}
	section, _, _ := strings.Cut(string(text), "\n## ")
	var rows []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") {
			rows = append(rows, line)
		}
	}
	want := []string{"| what `cni-firewall status` says | cure |\n"}
	for _, e := range explanations {
		want = append(want, fmt.Sprintf("| %s | `%s` |\n", e.sentence, e.cure))
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-source +page):\n%s", diff)
	}
}
