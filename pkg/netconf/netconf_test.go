// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// input returns the standard input of a call. keys are those of the plugin.
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

// withoutSources leaves to TestHostResolves where values come from.
var withoutSources = cmpopts.IgnoreFields(Config{}, "Sources")

func adminChain(name string) string { return `"iptablesAdminChainName":"` + name + `"` }

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("A", 28)
	tests := map[string]struct {
		keys string
		want func(*Config)
	}{
		"nothing":           {``, func(*Config) {}},
		"empty, as Podman":  {`"backend":"","ingressPolicy":"","publishedPorts":""`, func(*Config) {}},
		"empty names":       {`"iptablesAdminChainName":"","firewalldZone":"","dataDir":""`, func(*Config) {}},
		"null":              {`"backend":null,"ingressPolicy":null,"dataDir":null,"prevResult":null`, func(*Config) {}},
		"unknown keys":      {`"colour":"blue","iptablesAdminChain":{"a":[1]}`, func(*Config) {}},
		"backend":           {`"backend":"iptables"`, func(c *Config) { c.Backend = "iptables" }},
		"same-bridge":       {`"ingressPolicy":"same-bridge"`, func(c *Config) { c.IngressPolicy = policy.SameBridge }},
		"isolated":          {`"ingressPolicy":"isolated"`, func(c *Config) { c.IngressPolicy = policy.Isolated }},
		"deny":              {`"publishedPorts":"deny"`, func(c *Config) { c.PublishedPorts = policy.Deny }},
		"longest chain":     {adminChain(longest), func(c *Config) { c.AdminChain = longest }},
		"dotted chain":      {adminChain("my.own_chain-1"), func(c *Config) { c.AdminChain = "my.own_chain-1" }},
		"zone":              {`"firewalldZone":"lab/one"`, func(c *Config) { c.FirewalldZone = "lab/one" }},
		"unused zone":       {`"backend":"iptables","firewalldZone":"a b"`, func(c *Config) { c.Backend = "iptables" }},
		"unclean directory": {`"dataDir":"/var//lib/./x/"`, func(c *Config) { c.DataDir = "/var/lib/x" }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			test.want(want)
			got, err := Parse([]byte(input(test.keys)), Host{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, withoutSources); diff != "" {
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
		"number as policy": {input(`"ingressPolicy":3`), code6, "ingressPolicy must be a string, and is of type number"},
		"object as zone":   {input(`"firewalldZone":{"a":1}`), code6, "firewalldZone must be a string, and is of type object"},
		"backend": {input(`"backend":"ipchains"`), code7,
			`backend "ipchains" is unknown: it must be "firewalld", "iptables" or "nftables"`},
		"policy": {input(`"ingressPolicy":"opne"`), code7,
			`ingressPolicy "opne" is unknown: it must be "open", "same-bridge", "isolated", "strict" or "isolated-strict"`},
		"policy's case": {input(`"ingressPolicy":"Isolated"`), code7, `ingressPolicy "Isolated" is unknown`},
		"ports": {input(`"publishedPorts":"yes"`), code7,
			`publishedPorts "yes" is unknown: it must be "allow" or "deny"`},
		"two at once": {input(`"backend":"a","publishedPorts":"b"`), code7, `"nftables"; publishedPorts "b"`},
		"chain: newline": {input(adminChain(`A\n-A FORWARD -j ACCEPT`)), code7,
			`iptablesAdminChainName "A\n-A FORWARD -j ACCEPT" is not a chain name`},
		"chain: dash":      {input(adminChain(`-j`)), code7, "is not a chain name"},
		"chain: space":     {input(adminChain(`A B`)), code7, "is not a chain name"},
		"chain: non-ASCII": {input(adminChain(`Bär`)), code7, "is not a chain name"},
		"chain: long":      {input(adminChain(strings.Repeat("A", 29))), code7, "too long"},
		"chain: verdict":   {input(adminChain(`ACCEPT`)), code7, "is reserved"},
		"chain: loop":      {input(adminChain(`CNI-FORWARD`)), code7, "is reserved"},
		"zone":             {input(`"firewalldZone":"a b"`), code7, `firewalldZone "a b" is not a firewalld zone name`},
		"zone: dash":       {input(`"firewalldZone":"-a"`), code7, "is not a firewalld zone name"},
		"relative dataDir": {input(`"dataDir":"run"`), code7, `dataDir "run" is not an absolute path`},
		"zero in dataDir":  {input(`"dataDir":"/a\u0000b"`), code7, "zero byte"},
		"root as dataDir":  {input(`"dataDir":"/.."`), code7, "root directory"},
		"list as result":   {input(`"prevResult":[]`), code7, "reading prevResult"},
		"null address":     {input(`"prevResult":{"ips":[null]}`), code7, "prevResult ips[0] is null"},
		"no address":       {input(`"prevResult":{"ips":[{"gateway":"10.4.0.1"}]}`), code7, `prevResult ips[0] address ""`},
		"form of 0.2.0":    {input(`"prevResult":{"ip4":{"ip":"10.4.0.2/24"}}`), code7, `it must have "ips"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(test.stdin), Host{})
			expectError(t, err, test.code, test.want)
		})
	}
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
		"interfaces":[{"name":"cni0"},null],
		"ips":[{"address":"10.4.0.2/24"},{"address":"nonsense"},null]}`)), Host{})
	expectError(t, err, types.ErrInvalidNetworkConfig, "ingressPolicy")
	want := defaults()
	want.PrevResult = &Result{
		Raw:        got.PrevResult.Raw,
		Interfaces: []Interface{{Name: "cni0"}},
		Addresses:  []netip.Prefix{netip.MustParsePrefix("10.4.0.2/32")},
	}
	if diff := cmp.Diff(want, got, withoutSources, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

// TestParseGoesOn has a key with a value of another type. A DEL needs the others.
func TestParseGoesOn(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(input(`"backend":1,"ingressPolicy":"isolated","prevResult":{}`)), Host{})
	expectError(t, err, types.ErrDecodingFailure, "backend must be a string")
	if got == nil || got.Name != "net" || got.IngressPolicy != policy.Isolated || got.PrevResult == nil {
		t.Errorf("got %+v", got)
	}
}

// TestParseResult takes what upstream's plugin takes, and keeps of it what a rule can
// have.
func TestParseResult(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		result    string
		addresses string
	}{
		"empty":                   {`{}`, ""},
		"nulls":                   {`{"interfaces":null,"ips":null,"routes":null,"dns":null,"ip4":null}`, ""},
		"unknown keys":            {`{"ips":[{"address":"10.4.0.2/24","colour":1}],"x":[{}]}`, "10.4.0.2/32"},
		"loopback":                {`{"ips":[{"address":"127.0.0.1/8"},{"address":"10.4.0.2/24"},{"address":"::1/128"}]}`, "10.4.0.2/32"},
		"loopback alone":          {`{"ips":[{"address":"127.0.0.1/8"}]}`, ""},
		"unspecified, multicast":  {`{"ips":[{"address":"0.0.0.0/0"},{"address":"::/0"},{"address":"224.0.0.1/4"},{"address":"ff02::1/16"}]}`, ""},
		"all host bits equal":     {`{"ips":[{"address":"10.4.0.0/30"},{"address":"10.4.0.3/30"},{"address":"fd00::/64"}]}`, "10.4.0.0/32 10.4.0.3/32 fd00::/128"},
		"mapped, and twice":       {`{"ips":[{"address":"::ffff:10.4.0.2/120"},{"address":"10.4.0.2/24"}]}`, "10.4.0.2/32"},
		"the other version":       {`{"cniVersion":"0.4.0","ips":[{"version":"6","address":"10.4.0.2/24"},{"version":"x","address":"fd00::2/64"}]}`, "10.4.0.2/32 fd00::2/128"},
		"interface out of range":  {`{"ips":[{"interface":7,"address":"10.4.0.2/24"},{"interface":-1,"address":"10.4.0.3/24"}]}`, "10.4.0.2/32 10.4.0.3/32"},
		"routes that are strange": {`{"routes":[{"dst":"everywhere"}],"ips":[{"address":"10.4.0.2/24"}]}`, "10.4.0.2/32"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf, err := Parse([]byte(input(`"prevResult":`+c.result)), Host{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range conf.PrevResult.Addresses {
				got = append(got, p.String())
			}
			if strings.Join(got, " ") != c.addresses {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestResultVersion gives a result the version of the configuration, as upstream's plugin
// does, unless it has another form.
func TestResultVersion(t *testing.T) {
	t.Parallel()
	for result, want := range map[string]string{
		`{}`:                      `{"cniVersion":"1.0.0"}`,
		`{"cniVersion":""}`:       `{"cniVersion":"1.0.0"}`,
		`{"x":{"b":2,"a":"<"}}`:   `{"cniVersion":"1.0.0","x":{"b":2,"a":"<"}}`,
		`{"cniVersion":"1.1.0"}`:  `{"cniVersion":"1.0.0"}`,
		`{ "cniVersion":"1.0.0"}`: `{ "cniVersion":"1.0.0"}`,
		`{ "cniVersion":"0.4.0"}`: `{ "cniVersion":"0.4.0"}`,
	} {
		conf, err := Parse([]byte(input(`"prevResult":`+result)), Host{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(string(conf.PrevResult.Raw), `\u003c`, "<"); got != want {
			t.Errorf("%s: got %s", result, got)
		}
	}
}

// TestOtherValues wants the message about a value that other programs take, or that is
// easily mistaken, to say what to write instead.
func TestOtherValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, value, want string }{
		{"backend", "auto", `leave "backend" out`},
		{"backend", "None", `take the plugin's entry out`},
		{"backend", "ip6tables", `write "iptables"`},
		{"backend", "iptables-legacy", `write "iptables"`},
		{"backend", "IPTables", `write "iptables"`},
		{"backend", " iptables\n", `write "iptables"`},
		{"backend", "nf_tables", `write "nftables"`},
		{"backend", "NFT", `write "nftables"`},
		{"backend", "firewall-cmd", `write "firewalld"`},
		{"ingressPolicy", "Isolated", `write "isolated"`},
		{"ingressPolicy", "same_bridge", `write "same-bridge"`},
		{"ingressPolicy", "sameBridge", `write "same-bridge"`},
		{"publishedPorts", " Deny", `write "deny"`},
	} {
		_, err := Parse([]byte(input(fmt.Sprintf("%q:%q", c.key, c.value))), Host{})
		expectError(t, err, types.ErrInvalidNetworkConfig, fmt.Sprintf("%s %q is unknown: it must be", c.key, c.value))
		expectError(t, err, types.ErrInvalidNetworkConfig, "; "+c.want)
	}
	for _, value := range []string{"ipchains", "-", "\n"} {
		_, err := Parse([]byte(input(fmt.Sprintf(`"backend":%q`, value))), Host{})
		expectError(t, err, types.ErrInvalidNetworkConfig, `or "nftables"`)
		if strings.Contains(err.Error(), ";") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// TestOtherBackendsListed compares the values with the page about upstream.
func TestOtherBackendsListed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/UPSTREAM.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Values of `backend`")
	listed := map[string]bool{}
	for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(section, -1) {
		listed[letters(word[1])] = true
	}
	for value := range otherBackends {
		if !listed[value] {
			t.Errorf("UPSTREAM.md does not list %q", value)
		}
	}
}

// FuzzParse looks for input that panics, or that passes with a name which iptables
// or the kernel would read as more than a name.
func FuzzParse(f *testing.F) {
	f.Add(input(``))
	f.Add(input(`"ingressPolicy":"isolated","iptablesAdminChainName":"X","prevResult":{"cniVersion":"1.0.0",
		"interfaces":[{"name":"cni0"},{"name":"eth0","sandbox":"/x"}],
		"ips":[{"address":"10.4.0.2/24"},{"version":"6","address":"fd00::2/64"}]}`))
	f.Add(input(`"prevResult":{"interfaces":[null],"ips":[null]}`))
	f.Add(input(`"dataDir":"/\u0000","firewalldZone":"-","iptablesAdminChainName":"\n"`))
	f.Fuzz(func(t *testing.T, stdin string) {
		conf, err := Parse([]byte(stdin), Host{})
		if (conf == nil) && err == nil {
			t.Fatal("neither a configuration nor an error")
		}
		if err != nil {
			return
		}
		expectNames(t, conf)
		if conf.PrevResult == nil {
			return
		}
		for _, p := range conf.PrevResult.Addresses {
			if p.Bits() != p.Addr().BitLen() || !p.IsValid() {
				t.Errorf("address %s is not that of one host", p)
			}
		}
		a, err := conf.Attachment("c", "eth0", func(name string) (HostLink, error) {
			return HostLink{LinkKind(len(name) % 3), name, 1}, nil
		})
		if nameErr := a.CheckNames(); err == nil && nameErr != nil {
			t.Errorf("it passed: %v", nameErr)
		}
	})
}

func expectNames(t *testing.T, conf *Config) {
	t.Helper()
	for _, name := range []string{conf.AdminChain, conf.FirewalldZone, conf.DataDir} {
		if name == "" || name[0] == '-' || strings.ContainsRune(name, 0) {
			t.Errorf("name %q passed", name)
		}
		if name != conf.DataDir && strings.ContainsAny(name, " \n\t\"") {
			t.Errorf("name %q passed", name)
		}
	}
}

// TestValidAttachments expects nil for an absent list, which says nothing, and no
// attachment for an empty one, which says that none is valid.
func TestValidAttachments(t *testing.T) {
	t.Parallel()
	const key = `"cni.dev/valid-attachments":`
	tests := map[string]struct {
		keys string
		want []GCAttachment
		bad  string
	}{
		"absent": {``, nil, ""},
		"empty":  {key + `[]`, []GCAttachment{}, ""},
		"null":   {key + `null`, []GCAttachment{}, ""},
		"two": {key + `[{"containerID":"a","ifname":"eth0"},{"containerID":"b","ifname":"eth1"}]`,
			[]GCAttachment{{"a", "eth0"}, {"b", "eth1"}}, ""},
		"not a list":   {key + `{}`, nil, "reading cni.dev/valid-attachments"},
		"no container": {key + `[{"ifname":"eth0"}]`, nil, "valid-attachments[0]"},
		"null in it":   {key + `[null]`, nil, "valid-attachments[0]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf, err := Parse([]byte(input(test.keys)), Host{})
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
