// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// links are the interfaces of a host.
type links map[string]LinkKind

// linkOf answers for a name, and for an alternative name of the form "alt-NAME".
func (l links) linkOf(name string) (HostLink, error) {
	if name == "broken" {
		return HostLink{}, errors.New("netlink is broken")
	}
	name = strings.TrimPrefix(name, "alt-")
	return HostLink{l[name], name, len(name)}, nil
}

func TestSetInterfaces(t *testing.T) {
	t.Parallel()
	here := links{"cni0": BridgeLink, "br1": BridgeLink, "veth0": OtherLink, "veth1": OtherLink}
	tests := map[string]struct {
		interfaces   string // names; those in a sandbox in brackets
		bridge, port string
		others       string
	}{
		"none":                        {},
		"as the bridge plugin":        {"cni0 veth0 [eth0]", "cni0", "veth0", ""},
		"bridge not first":            {"veth0 [eth0] cni0", "cni0", "veth0", ""},
		"sandbox first":               {"[eth0] veth0 cni0", "cni0", "veth0", ""},
		"a bridge in the sandbox":     {"[cni0] veth0 br1", "br1", "veth0", ""},
		"two bridges":                 {"br1 cni0 veth0", "br1", "veth0", "cni0"},
		"a gateway that is no bridge": {"cni0 veth0 [eth0] veth1", "cni0", "veth0", "veth1"},
		"a gateway, port gone":        {"cni0 gone0 [eth0] veth1", "cni0", "gone0", "veth1"},
		"a gateway, bridge gone":      {"gone0 veth0 [eth0] veth1", "gone0", "veth0", "veth1"},
		"something gone":              {"cni0 veth0 [eth0] gone0 veth1", "cni0", "veth0", "veth1"},
		"ptp with more":               {"veth0 [eth0] veth1", "", "veth0", "veth0 veth1"},
		"in order":                    {"br1 veth0 cni0 veth1", "br1", "veth0", "cni0 veth1"},
		"one by two names":            {"cni0 alt-cni0 alt-veth0 veth0 alt-veth1 veth1", "cni0", "veth0", "veth1"},
		"alternative names":           {"alt-cni0 alt-veth0", "cni0", "veth0", ""},
		"as the ptp plugin":           {"veth0 [eth0]", "", "veth0", "veth0"},
		"all in sandboxes":            {"[eth0] [lo]", "", "", ""},
		"host forgot everything":      {"gone0 gone1 [eth0]", "gone0", "gone1", ""},
		"bridge gone":                 {"gone0 veth0 [eth0]", "gone0", "veth0", ""},
		"port gone":                   {"cni0 gone0 [eth0]", "cni0", "gone0", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var list []Interface
			for _, word := range strings.Fields(test.interfaces) {
				i := Interface{Name: strings.Trim(word, "[]")}
				if i.Name != word {
					i.Sandbox = "/run/netns/x"
				}
				list = append(list, i)
			}
			var got policy.Attachment
			found, err := onHost(list, here.linkOf)
			setInterfaces(&got, found)
			want := policy.Attachment{
				Bridge: test.bridge, Port: test.port, Interfaces: strings.Fields(test.others),
				Unseen: strings.HasPrefix(test.bridge, "gone"),
			}
			if _, here := here[want.Bridge]; here {
				want.BridgeIndex = len(want.Bridge)
			}
			if _, here := here[want.Port]; here {
				want.PortIndex = len(want.Port)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
	if _, err := onHost([]Interface{{Name: "broken"}}, here.linkOf); err == nil {
		t.Error("the error of netlink was lost")
	}
}

// TestUnnamedInterfaces has names in a result that no rule can have. Those that are no
// interface's, and those in a container, never matter. The others matter to a policy that
// isolates: one of them could be the bridge.
func TestUnnamedInterfaces(t *testing.T) {
	t.Parallel()
	host := links{"cni0": BridgeLink, "veth0": OtherLink, "br+": BridgeLink, "veth+": OtherLink}
	aliases := func(name string) (HostLink, error) { // "wild" is another name of br+
		if name == "wild" {
			name = "br+"
		}
		return host.linkOf(name)
	}
	for name, c := range map[string]struct {
		interfaces string // JSON, ahead of cni0 and veth0
		bad        string // of a policy that isolates
	}{
		"none":                   {``, ""},
		"null":                   {`null`, ""},
		"empty, vhost-user":      {`{"name":"","sandbox":"/run/netns/x"},{"name":"","socketPath":"/run/x"}`, ""},
		"a PCI address":          {`{"name":"0000:af:06.0","pciID":"0000:af:06.0"}`, ""},
		"over 15 bytes":          {`{"name":"interface-in-a-vm","sandbox":"vm1"},{"name":"0123456789abcdef"}`, ""},
		"a path, a space":        {`{"name":"/run/vhost0"},{"name":"a b"},{"name":"a\n-A FORWARD"}`, ""},
		"in a container":         {`{"name":"-j","sandbox":"/x"},{"name":"br+","sandbox":"/x"}`, ""},
		"a wildcard":             {`{"name":"veth+"}`, `prevResult interface "veth+" ends in '+'`},
		"a wildcard, not there":  {`{"name":"gone+"}`, `prevResult interface "gone+" ends in '+'`},
		"a bridge of such name":  {`{"name":"br+"}`, `prevResult interface "br+" ends in '+'`},
		"by its other name":      {`{"name":"wild"}`, `prevResult interface "br+" ends in '+'`},
		"an option, a quotation": {`{"name":"-j"},{"name":"a\"b"}`, `"-j" begins with '-' or '!'; prevResult interface "a\"b"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, p := range policy.IngressPolicies {
				list := strings.TrimPrefix(c.interfaces+`,{"name":"cni0"},{"name":"veth0"}`, ",")
				conf, err := Parse([]byte(input(fmt.Sprintf(`"ingressPolicy":%q,"prevResult":{"interfaces":[%s]}`, p, list))), Host{})
				if err != nil {
					t.Fatal(err)
				}
				a, err := conf.Attachment("c", "eth0", aliases)
				if p.Isolates() && c.bad != "" {
					expectError(t, err, types.ErrInvalidNetworkConfig, c.bad)
				} else if err != nil {
					t.Errorf("%s: %v", p, err)
				}
				if a.Bridge != "cni0" || a.Port != "veth0" || a.Interfaces != nil {
					t.Errorf("%s: got %+v", p, a)
				}
			}
		})
	}
}

func TestAttachmentNeedsBridge(t *testing.T) {
	t.Parallel()
	for _, p := range policy.IngressPolicies {
		const prevResult = `"prevResult":{"interfaces":[{"name":"veth0"}],"ips":[{"address":"10.4.0.2/24"}]}`
		conf, err := Parse([]byte(input(fmt.Sprintf(`"ingressPolicy":%q,%s`, p, prevResult))), Host{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := conf.Attachment("c", "eth0", links{"veth0": OtherLink}.linkOf)
		if p.Isolates() {
			expectError(t, err, types.ErrInvalidNetworkConfig, `chain "firewall" after "bridge"`)
		} else if err != nil {
			t.Errorf("%s: %v", p, err)
		}
		if a.Bridge != "" || len(a.Addresses) != 1 {
			t.Errorf("%s: got %+v", p, a)
		}
	}
}

// TestParseIsolation reads an entry of the standalone plugin.
func TestParseIsolation(t *testing.T) {
	t.Parallel()
	const (
		one  = `"prevResult":{"interfaces":[{"name":"br0"}],"ips":[{"address":"10.4.0.2/24"}]}`
		ipv4 = policy.Families(policy.IPv4)
	)
	for name, c := range map[string]struct {
		keys string
		want policy.Attachment
	}{
		"nothing":  {``, policy.Attachment{IngressPolicy: policy.SameBridge}},
		"isolated": {`"ingressPolicy":"isolated"`, policy.Attachment{IngressPolicy: policy.Isolated}},
		"one family": {one,
			policy.Attachment{Bridge: "br0", BridgeIndex: 3, IngressPolicy: policy.SameBridge, IsolatedIn: ipv4}},
		"two families": {strings.Replace(one, `}]}`, `},{"address":"fd00::2/64"}]}`, 1),
			policy.Attachment{Bridge: "br0", BridgeIndex: 3, IngressPolicy: policy.SameBridge}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf, err := Parse([]byte(strings.Replace(input(c.keys), `"firewall"`, `"isolation"`, 1)), Host{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := conf.Attachment("c", "eth0", links{"br0": BridgeLink}.linkOf)
			if err != nil {
				t.Fatal(err)
			}
			c.want.Network, c.want.ContainerID, c.want.IfName = "net/isolation", "c", "eth0"
			c.want.PublishedPorts = policy.Allow
			got.Sources = nil // see TestHostOfIsolation
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, err := Parse([]byte(strings.Replace(input(`"ingressPolicy":"open"`), `"firewall"`, `"isolation"`, 1)), Host{})
	expectError(t, err, types.ErrInvalidNetworkConfig,
		`ingressPolicy "open" is unknown: it must be "same-bridge" or "isolated"`)
}
