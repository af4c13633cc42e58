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

	"github.com/cni-isolation/firewall/pkg/policy"
)

// input returns the standard input of a call with some keys of the plugin.
func input(keys string) string {
	if keys != "" {
		keys += ","
	}
	return `{"cniVersion":"1.0.0","name":"net","type":"firewall",` + keys + `"capabilities":{"x":true}}`
}

func defaults() *Config {
	return &Config{
		Plugin:        PluginFirewall,
		Name:          "net",
		IngressPolicy: policy.Open, PublishedPorts: policy.Allow,
		AdminChain: "CNI-ADMIN", FirewalldZone: "trusted", DataDir: "/run/cni/firewall",
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		keys string
		want func(*Config)
	}{
		"nothing":           {``, func(*Config) {}},
		"empty, as Podman":  {`"backend":"","ingressPolicy":"","publishedPorts":"","iptablesAdminChainName":"","firewalldZone":"","dataDir":""`, func(*Config) {}},
		"null":              {`"backend":null,"ingressPolicy":null,"dataDir":null,"prevResult":null`, func(*Config) {}},
		"unknown keys":      {`"colour":"blue","iptablesAdminChain":{"a":[1]}`, func(*Config) {}},
		"backend":           {`"backend":"iptables"`, func(c *Config) { c.Backend = "iptables" }},
		"same-bridge":       {`"ingressPolicy":"same-bridge"`, func(c *Config) { c.IngressPolicy = policy.SameBridge }},
		"isolated":          {`"ingressPolicy":"isolated"`, func(c *Config) { c.IngressPolicy = policy.Isolated }},
		"deny":              {`"publishedPorts":"deny"`, func(c *Config) { c.PublishedPorts = policy.Deny }},
		"longest chain":     {`"iptablesAdminChainName":"` + strings.Repeat("A", 28) + `"`, func(c *Config) { c.AdminChain = strings.Repeat("A", 28) }},
		"dotted chain":      {`"iptablesAdminChainName":"my.own_chain-1"`, func(c *Config) { c.AdminChain = "my.own_chain-1" }},
		"zone":              {`"firewalldZone":"lab/one"`, func(c *Config) { c.FirewalldZone = "lab/one" }},
		"unclean directory": {`"dataDir":"/var//lib/./x/"`, func(c *Config) { c.DataDir = "/var/lib/x" }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			test.want(want)
			got, err := Parse([]byte(input(test.keys)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const code6, code7 = types.ErrDecodingFailure, types.ErrInvalidNetworkConfig
	tests := map[string]struct {
		stdin string
		code  uint
		want  string // part of the message
	}{
		"no JSON":          {`{`, code6, "reading the network configuration"},
		"a list":           {`[]`, code6, "reading the network configuration"},
		"number as policy": {input(`"ingressPolicy":3`), code6, "ingressPolicy"},
		"backend":          {input(`"backend":"ipchains"`), code7, `backend "ipchains" is unknown: it must be "firewalld" or "iptables" or "nftables"`},
		"policy":           {input(`"ingressPolicy":"opne"`), code7, `ingressPolicy "opne" is unknown: it must be "open" or "same-bridge" or "isolated"`},
		"policy's case":    {input(`"ingressPolicy":"Isolated"`), code7, `ingressPolicy "Isolated" is unknown`},
		"ports":            {input(`"publishedPorts":"yes"`), code7, `publishedPorts "yes" is unknown: it must be "allow" or "deny"`},
		"two at once":      {input(`"backend":"a","publishedPorts":"b"`), code7, `"nftables"; publishedPorts "b"`},
		"chain: newline":   {input(`"iptablesAdminChainName":"A\n-A FORWARD -j ACCEPT"`), code7, `iptablesAdminChainName "A\n-A FORWARD -j ACCEPT" is no chain name`},
		"chain: dash":      {input(`"iptablesAdminChainName":"-j"`), code7, "is no chain name"},
		"chain: space":     {input(`"iptablesAdminChainName":"A B"`), code7, "is no chain name"},
		"chain: non-ASCII": {input(`"iptablesAdminChainName":"Bär"`), code7, "is no chain name"},
		"chain: long":      {input(`"iptablesAdminChainName":"` + strings.Repeat("A", 29) + `"`), code7, "too long"},
		"chain: verdict":   {input(`"iptablesAdminChainName":"ACCEPT"`), code7, "is reserved"},
		"chain: loop":      {input(`"iptablesAdminChainName":"CNI-FORWARD"`), code7, "is reserved"},
		"zone":             {input(`"firewalldZone":"a b"`), code7, `firewalldZone "a b" is no firewalld zone name`},
		"zone: dash":       {input(`"firewalldZone":"-a"`), code7, "is no firewalld zone name"},
		"relative dataDir": {input(`"dataDir":"run"`), code7, `dataDir "run" is no absolute path`},
		"zero in dataDir":  {input(`"dataDir":"/a\u0000b"`), code7, "zero byte"},
		"root as dataDir":  {input(`"dataDir":"/.."`), code7, "root directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(test.stdin))
			expectError(t, err, test.code, test.want)
		})
	}
}

// TestParseIsolation reads an entry of the standalone plugin.
func TestParseIsolation(t *testing.T) {
	t.Parallel()
	one := `"prevResult":{"interfaces":[{"name":"br0"}],"ips":[{"address":"10.4.0.2/24"}]}`
	for name, c := range map[string]struct {
		keys string
		want policy.Attachment
	}{
		"nothing":    {``, policy.Attachment{IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow}},
		"isolated":   {`"ingressPolicy":"isolated"`, policy.Attachment{IngressPolicy: policy.Isolated, PublishedPorts: policy.Allow}},
		"one family": {one, policy.Attachment{Bridge: "br0", IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow, IsolatedIn: policy.Families(policy.IPv4)}},
		"two": {strings.Replace(one, `}]}`, `},{"address":"fd00::2/64"}]}`, 1),
			policy.Attachment{Bridge: "br0", IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf, err := Parse([]byte(strings.Replace(input(c.keys), `"firewall"`, `"isolation"`, 1)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := conf.Attachment("c", "eth0", links{"br0": BridgeLink}.kindOf)
			if err != nil {
				t.Fatal(err)
			}
			c.want.Network, c.want.ContainerID, c.want.IfName = "net/isolation", "c", "eth0"
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, err := Parse([]byte(strings.Replace(input(`"ingressPolicy":"open"`), `"firewall"`, `"isolation"`, 1)))
	expectError(t, err, types.ErrInvalidNetworkConfig, `ingressPolicy "open" is unknown: it must be "same-bridge" or "isolated"`)
}

func expectError(t *testing.T, err error, code uint, part string) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want a CNI error with code %d", err, code)
	}
	if e.Code != code || !strings.Contains(e.Msg, part) {
		t.Errorf("got code %d, %q; want code %d and %q in it", e.Code, e.Msg, code, part)
	}
	if strings.Contains(e.Msg, "\n") {
		t.Errorf("the message has a newline in it: %q", e.Msg)
	}
}

func TestParseKeepsWhatIsValid(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(input(`"ingressPolicy":"nonsense","prevResult":{
		"interfaces":[{"name":"cni0"},{"name":"a b"},null],
		"ips":[{"address":"10.4.0.2/24"},{"address":"nonsense"}]}`)))
	expectError(t, err, types.ErrInvalidNetworkConfig, "ingressPolicy")
	want := defaults()
	want.PrevResult = &Result{
		Raw:        got.PrevResult.Raw,
		Interfaces: []Interface{{Name: "cni0"}},
		Addresses:  []netip.Prefix{netip.MustParsePrefix("10.4.0.2/32")},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		address, version string
		want, wantErr    string
	}{
		{"10.4.0.2/24", "", "10.4.0.2/32", ""},
		{"10.4.0.2/24", "4", "10.4.0.2/32", ""},
		{"10.4.0.2/32", "", "10.4.0.2/32", ""},
		{"10.4.0.2/31", "", "10.4.0.2/32", ""},
		{"10.4.0.3/31", "", "10.4.0.3/32", ""},
		{"fd00::2/64", "6", "fd00::2/128", ""},
		{"FD00:0:0::2/64", "", "fd00::2/128", ""},
		{"fd00::2/127", "", "fd00::2/128", ""},
		{"fd00::ffff:ffff:ffff:ffff/64", "", "fd00::ffff:ffff:ffff:ffff/128", ""},
		{"::ffff:10.4.0.2/120", "", "10.4.0.2/32", ""},
		{"10.4.0.2/24", "6", "", "family"},
		{"fd00::2/64", "4", "", "family"},
		{"10.4.0.2", "", "", "no address with a prefix length"},
		{"10.4.0.2/33", "", "", "no address with a prefix length"},
		{"fe80::1%eth0/64", "", "", "no address with a prefix length"},
		{"", "", "", "no address with a prefix length"},
		{"10.4.0.2/24\n-A FORWARD -j ACCEPT", "", "", "no address with a prefix length"},
		{"0.0.0.0/0", "", "", "can have"},
		{"::/0", "", "", "can have"},
		{"127.0.0.1/8", "", "", "can have"},
		{"::1/128", "", "", "can have"},
		{"224.0.0.1/4", "", "", "can have"},
		{"ff02::1/16", "", "", "can have"},
		{"10.4.0.0/24", "", "", "host bits"},
		{"10.4.0.255/24", "", "", "host bits"},
		{"255.255.255.255/8", "", "", "host bits"},
		{"fd00::/64", "", "", "host bits"},
	}
	for _, test := range tests {
		got, err := parseAddress(test.address, test.version)
		switch {
		case test.wantErr == "" && err != nil:
			t.Errorf("%q: %v", test.address, err)
		case test.wantErr == "" && got.String() != test.want:
			t.Errorf("%q: got %s, want %s", test.address, got, test.want)
		case test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)):
			t.Errorf("%q: got error %v, want %q in it", test.address, err, test.wantErr)
		}
	}
}

// links is what a host knows of interfaces.
type links map[string]LinkKind

func (l links) kindOf(name string) (LinkKind, error) {
	if name == "broken" {
		return NoLink, errors.New("netlink is broken")
	}
	return l[name], nil
}

func TestFindBridge(t *testing.T) {
	t.Parallel()
	here := links{"cni0": BridgeLink, "br1": BridgeLink, "veth0": OtherLink, "veth1": OtherLink}
	tests := map[string]struct {
		interfaces   string // names; those in a sandbox in brackets
		bridge, port string
	}{
		"none":                    {"", "", ""},
		"as the bridge plugin":    {"cni0 veth0 [eth0]", "cni0", "veth0"},
		"bridge not first":        {"veth0 [eth0] cni0", "cni0", "veth0"},
		"sandbox first":           {"[eth0] veth0 cni0", "cni0", "veth0"},
		"a bridge in the sandbox": {"[cni0] veth0 br1", "br1", "veth0"},
		"two bridges":             {"br1 cni0 veth0", "br1", "veth0"},
		"as the ptp plugin":       {"veth0 [eth0]", "", "veth0"},
		"all in sandboxes":        {"[eth0] [lo]", "", ""},
		"host forgot everything":  {"gone0 gone1 [eth0]", "gone0", "gone1"},
		"bridge gone":             {"gone0 veth0 [eth0]", "gone0", "veth0"},
		"port gone":               {"cni0 gone0 [eth0]", "cni0", "gone0"},
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
			bridge, port, unseen, err := findBridge(list, here.kindOf)
			if wantUnseen := strings.HasPrefix(test.bridge, "gone"); err != nil || bridge != test.bridge || port != test.port || unseen != wantUnseen {
				t.Errorf("got bridge %q, port %q, error %v; want %q and %q", bridge, port, err, test.bridge, test.port)
			}
		})
	}
	if _, _, _, err := findBridge([]Interface{{Name: "broken"}}, here.kindOf); err == nil {
		t.Error("an error of netlink was swallowed")
	}
}

func TestAttachmentNeedsBridge(t *testing.T) {
	t.Parallel()
	for _, p := range policy.IngressPolicies {
		conf, err := Parse([]byte(input(fmt.Sprintf(`"ingressPolicy":%q,"prevResult":{"interfaces":[{"name":"veth0"}],"ips":[{"address":"10.4.0.2/24"}]}`, p))))
		if err != nil {
			t.Fatal(err)
		}
		a, err := conf.Attachment("c", "eth0", links{"veth0": OtherLink}.kindOf)
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

// FuzzParse looks for input that panics, or that passes with something in it
// which a parser behind us would read as more than a name.
func FuzzParse(f *testing.F) {
	f.Add(input(``))
	f.Add(input(`"ingressPolicy":"isolated","iptablesAdminChainName":"X","prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"},{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.4.0.2/24"},{"version":"6","address":"fd00::2/64"}]}`))
	f.Add(input(`"prevResult":{"interfaces":[null],"ips":[null]}`))
	f.Add(input(`"dataDir":"/\u0000","firewalldZone":"-","iptablesAdminChainName":"\n"`))
	f.Fuzz(func(t *testing.T, stdin string) {
		conf, err := Parse([]byte(stdin))
		if (conf == nil) && err == nil {
			t.Fatal("neither a configuration nor an error")
		}
		if err != nil {
			return
		}
		names := []string{conf.AdminChain, conf.FirewalldZone, conf.DataDir}
		if conf.PrevResult != nil {
			for _, i := range conf.PrevResult.Interfaces {
				names = append(names, i.Name)
			}
			for _, p := range conf.PrevResult.Addresses {
				if p.Bits() != p.Addr().BitLen() || !p.IsValid() {
					t.Errorf("address %s is not of one host", p)
				}
			}
		}
		for _, name := range names[:2] {
			if strings.ContainsAny(name, " \n\t\"") {
				t.Errorf("name %q passed", name)
			}
		}
		for _, name := range names {
			if name == "" || name[0] == '-' || strings.ContainsRune(name, 0) {
				t.Errorf("name %q passed", name)
			}
		}
	})
}

// TestValidAttachments tells a list that is absent from one that is empty: the
// first means that nothing is known, the second that none is valid.
func TestValidAttachments(t *testing.T) {
	t.Parallel()
	const key = `"cni.dev/valid-attachments":`
	tests := map[string]struct {
		keys string
		want []GCAttachment
		bad  string
	}{
		"absent":       {``, nil, ""},
		"empty":        {key + `[]`, []GCAttachment{}, ""},
		"null":         {key + `null`, []GCAttachment{}, ""},
		"two":          {key + `[{"containerID":"a","ifname":"eth0"},{"containerID":"b","ifname":"eth1"}]`, []GCAttachment{{"a", "eth0"}, {"b", "eth1"}}, ""},
		"not a list":   {key + `{}`, nil, "reading cni.dev/valid-attachments"},
		"no container": {key + `[{"ifname":"eth0"}]`, nil, "valid-attachments[0]"},
		"null in it":   {key + `[null]`, nil, "valid-attachments[0]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf, err := Parse([]byte(input(test.keys)))
			if test.bad != "" {
				expectError(t, err, types.ErrInvalidNetworkConfig, test.bad)
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, conf.Valid); diff != "" {
				t.Error(diff)
			}
		})
	}
}
