// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestHostAccepts reads files that are valid, and lists what they say, in the order in
// which it is asked.
func TestHostAccepts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"nothing":          {`{}`, ""},
		"nothing in it":    {`{"defaults":{},"networks":{"a":{}}}`, ""},
		"spaces":           {" \n\t{ \"defaults\" : { \"backend\" : \"nftables\" } }\n\n", "defaults: backend=nftables"},
		"a schema":         {`{"$schema":"config.schema.json"}`, ""},
		"an escaped key":   {`{"d\u0065faults":{"backend":"nftables"}}`, "defaults: backend=nftables"},
		"longest chain":    {`{"defaults":{"iptablesAdminChainName":"` + strings.Repeat("A", 28) + `"}}`, "defaults: iptablesAdminChainName=" + strings.Repeat("A", 28)},
		"a network's name": {`{"networks":{"0a_.-":{"firewalldZone":"lab/one"}}}`, "networks 0a_.-: firewalldZone=lab/one"},
		"a name of ours":   {`{"networks":{"defaults":{"publishedPorts":"deny"}}}`, "networks defaults: publishedPorts=deny"},
		"in order": {`{"networks":{"*":{"backend":"iptables"},"dev-*":{"backend":"nftables"},"d*":{"backend":"firewalld"},
			"dev-a":{"publishedPorts":"deny"},"b":{"publishedPorts":"allow"}},"defaults":{"ingressPolicy":"strict","publishedPorts":"deny"}}`,
			"networks dev-a: publishedPorts=deny; networks b: publishedPorts=allow; networks dev-*: backend=nftables; " +
				"networks d*: backend=firewalld; networks *: backend=iptables; defaults: ingressPolicy=strict publishedPorts=deny"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := parseHost([]byte(c.content))
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(h); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func describe(h Host) string {
	var list []string
	for _, e := range h.Entries() {
		text := e.Source() + ":"
		for _, k := range hostKeys {
			if value := e.Sets[k.name]; value != "" {
				text += " " + k.name + "=" + value
			}
		}
		list = append(list, text)
	}
	return strings.Join(list, "; ")
}

// TestHostRefuses reads files that are not valid. What they say is not used, not even
// what is valid of it.
func TestHostRefuses(t *testing.T) {
	t.Parallel()
	inDefaults := func(keys string) string { return `{"defaults":{` + keys + `}}` }
	for name, c := range map[string]struct{ content, want string }{
		"empty":           {"", "it is empty: write {}, or remove it"},
		"spaces":          {" \n", "it is empty"},
		"mark":            {"\xef\xbb\xbf{}", "byte order mark"},
		"UTF-16":          {"\xff\xfe{\x00}\x00", "it is not UTF-8"},
		"Latin 1":         {"{\"networks\":{\"b\xe4r\":{}}}", "it is not UTF-8"},
		"cut off":         {"{\n\"defaults\":{\n", "line 3: unexpected end of JSON input"},
		"a comment":       {"{\n// strict\n}", "line 2: invalid character '/'"},
		"a comma":         {`{"defaults":{},}`, "line 1: invalid character '}'"},
		"two objects":     {`{}{}`, "invalid character '{' after top-level value"},
		"zeros":           {"\x00\x00", `invalid character '\x00'`},
		"a list":          {`[]`, "it must be an object, and is of type array"},
		"null":            {` null `, "it must be an object, and is of type null"},
		"a string":        {`"{}"`, "it must be an object, and is of type string"},
		"deep":            {strings.Repeat("[", 20000), "exceeded max depth"},
		"unknown":         {`{"network":{}}`, `key "network" is unknown: it must be "defaults" or "networks"`},
		"another case":    {`{"Defaults":{}}`, `key "Defaults" is unknown: it must be "defaults" or "networks"; write "defaults"`},
		"a conflist":      {`{"ingressPolicy":"strict"}`, `key "ingressPolicy" is unknown`},
		"twice":           {`{"defaults":{},"defaults":{}}`, `it has the key "defaults" twice`},
		"twice, escaped":  {`{"defaults":{},"d\u0065faults":{}}`, `it has the key "defaults" twice`},
		"twice in it":     {inDefaults(`"backend":"nftables","backend":"iptables"`), `defaults has the key "backend" twice`},
		"a network twice": {`{"networks":{"a":{"backend":"nftables"},"a":{}}}`, `networks has the key "a" twice`},
		"defaults null":   {`{"defaults":null}`, "defaults must be an object, and is of type null"},
		"networks":        {`{"networks":[]}`, "networks must be an object, and is of type array"},
		"a network":       {`{"networks":{"a":true}}`, `networks "a" must be an object, and is of type bool`},
		"unknown key": {inDefaults(`"policy":"strict"`), `defaults: key "policy" is unknown: it must be "ingressPolicy", ` +
			`"publishedPorts", "backend", "iptablesAdminChainName" or "firewalldZone"`},
		"a key's case":  {inDefaults(`"ingresspolicy":"strict"`), `write "ingressPolicy"`},
		"dataDir":       {inDefaults(`"dataDir":"/run/x"`), `key "dataDir" is unknown: it must be "ingressPolicy", "publishedPorts", "backend", "iptablesAdminChainName" or "firewalldZone"; only a conflist sets dataDir`},
		"a number":      {inDefaults(`"ingressPolicy":1`), "defaults: ingressPolicy must be a string, and is of type number"},
		"a null":        {inDefaults(`"ingressPolicy":null`), "defaults: ingressPolicy must be a string, and is of type null"},
		"an object":     {inDefaults(`"backend":{}`), "defaults: backend must be a string, and is of type object"},
		"a list in it":  {inDefaults(`"backend":["nftables"]`), "defaults: backend must be a string, and is of type array"},
		"nothing in it": {inDefaults(`"ingressPolicy":""`), "defaults: ingressPolicy is empty: leave it out"},
		"policy": {inDefaults(`"ingressPolicy":"opne"`),
			`defaults: ingressPolicy "opne" is unknown: it must be "open", "same-bridge", "isolated", "strict" or "isolated-strict"`},
		"ports":   {`{"networks":{"a*":{"publishedPorts":"no"}}}`, `networks "a*": publishedPorts "no" is unknown: it must be "allow" or "deny"`},
		"backend": {inDefaults(`"backend":"auto"`), `defaults: backend "auto" is unknown: it must be "firewalld", "iptables" or "nftables"; leave "backend" out`},
		"chain":   {inDefaults(`"iptablesAdminChainName":"A\n-A FORWARD -j ACCEPT"`), `defaults: iptablesAdminChainName "A\n-A FORWARD -j ACCEPT" is not a chain name`},
		"zone":    {inDefaults(`"firewalldZone":"a b"`), `defaults: firewalldZone "a b" is not a firewalld zone name`},
		"all at once": {`{"x":1,"defaults":{"backend":"a"},"networks":{"a b":{"publishedPorts":"b"}}}`,
			`key "x" is unknown: it must be "defaults" or "networks"; defaults: backend "a" is unknown`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := parseHost([]byte(c.content))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if len(h.Entries()) > 0 {
				t.Errorf("it says %s", describe(h))
			}
		})
	}
	for _, pattern := range []string{"", "a b", "-a", ".a", "_*", "*a", "a*b", "a**", "**", "bär", "a/b", "a\\u0000", "a\\n"} {
		_, err := parseHost([]byte(`{"networks":{"` + pattern + `":{"backend":"nftables"}}}`))
		if err == nil || !strings.Contains(err.Error(), "is no name of a network: it may have letters") {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
}

// TestHostResolves has a conflist with each of its values, and without, meet a host's
// configuration.
func TestHostResolves(t *testing.T) {
	t.Parallel()
	const (
		defaults = `{"defaults":{"ingressPolicy":"strict","publishedPorts":"deny","backend":"nftables",
			"iptablesAdminChainName":"MINE","firewalldZone":"lab"}}`
		networks = `{"networks":{"net":{"ingressPolicy":"isolated"},"n*":{"ingressPolicy":"open","publishedPorts":"deny"},
			"ne*":{"publishedPorts":"allow"},"nets":{"backend":"iptables"},"*":{"backend":"nftables"}},
			"defaults":{"ingressPolicy":"strict","publishedPorts":"allow","firewalldZone":"lab"}}`
	)
	for name, c := range map[string]struct{ host, keys, want string }{
		"nothing": {`{}`, ``, "open unset; allow unset; unset; CNI-ADMIN unset; trusted unset"},
		"conflist": {`{}`, `"ingressPolicy":"isolated","publishedPorts":"deny","backend":"firewalld","firewalldZone":"z"`,
			"isolated conflist; deny conflist; firewalld conflist; CNI-ADMIN unset; z conflist"},
		"defaults": {defaults, ``, "strict defaults; deny defaults; nftables defaults; MINE defaults; trusted"},
		"defaults, as Podman": {defaults, `"backend":"","ingressPolicy":null`,
			"strict defaults; deny defaults; nftables defaults; MINE defaults; trusted"},
		"defaults behind a conflist": {defaults, `"ingressPolicy":"open","backend":"firewalld","iptablesAdminChainName":"C"`,
			"open conflist; deny defaults; firewalld conflist; C conflist; lab defaults"},
		"networks": {networks, ``, "isolated networks net; allow networks ne*; nftables networks *; CNI-ADMIN unset; trusted"},
		"networks ahead of a conflist": {networks, `"ingressPolicy":"open","publishedPorts":"deny","backend":"iptables"`,
			"isolated networks net; allow networks ne*; nftables networks *; CNI-ADMIN unset; trusted"},
		"networks instead of what is not valid": {`{"networks":{"*":{"backend":"iptables"}}}`, `"backend":"iptables-nft"`,
			"open unset; allow unset; iptables networks *; CNI-ADMIN unset; trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := parseHost([]byte(c.host))
			if err != nil {
				t.Fatal(err)
			}
			conf, err := Parse([]byte(input(c.keys)), h)
			if err != nil {
				t.Fatal(err)
			}
			if got := resolved(conf); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			a, _ := conf.Attachment("c", "eth0", nil)
			if diff := cmp.Diff(conf.Sources, a.Sources); diff != "" {
				t.Errorf("the attachment has other sources:\n%s", diff)
			}
		})
	}
	if _, err := Parse([]byte(input(`"ingressPolicy":"opne"`)), Host{}); err == nil {
		t.Error("what no host's configuration overrules is not checked")
	}
}

// resolved returns each value of a configuration, and its source.
func resolved(c *Config) string {
	var list []string
	for _, v := range []struct{ value, key string }{
		{string(c.IngressPolicy), policy.KeyIngressPolicy}, {string(c.PublishedPorts), policy.KeyPublishedPorts},
		{string(c.Backend), policy.KeyBackend}, {c.AdminChain, policy.KeyAdminChain}, {c.FirewalldZone, policy.KeyZone},
	} {
		list = append(list, strings.TrimSpace(v.value+" "+c.Sources[v.key]))
	}
	return strings.Join(list, "; ")
}

// TestHostOfIsolation has the standalone plugin isolate whatever the host's configuration
// says, and more where that is stricter.
func TestHostOfIsolation(t *testing.T) {
	t.Parallel()
	for p, want := range map[string]string{
		"open": "same-bridge", "same-bridge": "same-bridge", "isolated": "isolated", "strict": "strict",
		"isolated-strict": "isolated-strict",
	} {
		for _, keys := range []string{
			`{"defaults":{"ingressPolicy":%q,"backend":"nftables","publishedPorts":"deny","iptablesAdminChainName":"X"}}`,
			`{"networks":{"n*":{"ingressPolicy":%q,"backend":"nftables","publishedPorts":"deny","iptablesAdminChainName":"X"}}}`,
		} {
			h, err := parseHost(fmt.Appendf(nil, keys, p))
			if err != nil {
				t.Fatal(err)
			}
			conf, err := Parse([]byte(strings.Replace(input(``), `"type":"firewall"`, `"type":"isolation"`, 1)), h)
			if err != nil {
				t.Fatal(err)
			}
			a, _ := conf.Attachment("c", "eth0", nil)
			if string(a.IngressPolicy) != want || a.Backend != policy.NFTables || a.PublishedPorts != policy.Deny {
				t.Errorf("%s, %s: got %+v", p, keys, a)
			}
			if !a.IsStandalone() || len(a.Sources) != 3 {
				t.Errorf("%s, %s: it forwards: %+v", p, keys, a)
			}
		}
	}
}

// FuzzParseHost looks for a file that panics, or that passes with what no conflist may
// have.
func FuzzParseHost(f *testing.F) {
	f.Add([]byte(`{"defaults":{"ingressPolicy":"strict"},"networks":{"dev-*":{"backend":"nftables"},"*":{}}}`))
	f.Add([]byte(`{"networks":{"a":{"iptablesAdminChainName":"\n","firewalldZone":"-"}}}`))
	f.Add([]byte("{\"\":[\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		h, err := parseHost(content)
		if err != nil {
			if len(h.Entries()) > 0 {
				t.Errorf("after an error it says %s", describe(h))
			}
			return
		}
		conf, err := Parse([]byte(input(``)), h)
		if err != nil {
			t.Fatalf("what passed is refused: %v", err)
		}
		expectNames(t, conf)
	})
}
