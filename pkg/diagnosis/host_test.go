// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestForwards asks about bridges on which the host has addresses, or none. The
// loopback interface stands for a bridge: every host has it.
func TestForwards(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		t.Fatal(err)
	}
	off := strings.TrimSpace(string(text)) == "0"
	on := func(bridge, address string) policy.Attachment {
		return policy.Attachment{Bridge: bridge, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
	}
	for name, test := range map[string]struct {
		attachment policy.Attachment
		wrong      bool
	}{
		"the host routes":            {on("lo", "10.4.0.2/32"), off},
		"the bridge is gone":         {on("none", "10.4.0.2/32"), false},
		"a network without bridge":   {on("", "10.4.0.2/32"), false},
		"a bridge without addresses": {policy.Attachment{Bridge: "lo"}, false},
	} {
		err := Forwards([]policy.Attachment{test.attachment})
		if (err != nil) != test.wrong {
			t.Errorf("%s: got %v", name, err)
		}
		if problems := Explain(err, ""); test.wrong && problems[0].Cure != "sysctl -w net.ipv4.ip_forward=1" {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// TestCutOff picks the chains FORWARD of iptables from what blocks forwarding.
func TestCutOff(t *testing.T) {
	t.Parallel()
	forward := &nftables.ForwardBlocker{Family: "ip", Table: "filter", Chain: "FORWARD", Program: "iptables"}
	other := &nftables.ForwardBlocker{Family: "inet", Table: "guard", Chain: "passing"}
	if err := CutOff(errors.Join(other, errors.New("else"))); err != nil {
		t.Errorf("got %v", err)
	}
	err := CutOff(errors.Join(other, forward))
	if !errors.Is(err, ErrCutOff) || strings.Contains(err.Error(), "guard") {
		t.Errorf("got %v", err)
	}
	if CutOff(nil) != nil || WithKind(ErrGone, nil) != nil {
		t.Error("nothing is something")
	}
}
