// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// input is what a runtime sends the plugin: an entry of a conflist, and the result of
// the plugins before it.
type input struct {
	name     string
	versions string // of CNI; by default 1.0.0
	keys     string // JSON members of the entry

	// The result: interfaces and addresses in words (see written), and more JSON
	// members; or all of it in JSON.
	interfaces, addresses, more string
	result                      string

	ifName string
	away   bool   // the container's packets do not pass the host's forward hook
	skips  string // addresses that no packet from beyond the host has, and no rule of ours

	// What ADD and CHECK say where they refuse, and why not both do.
	ours, upstream, why string

	version string // one of versions
}

// bridged are entries of runtimes that chain the plugin behind bridge, or behind a plugin
// that delegates to it.
var bridged = []input{
	{name: "Podman 3", versions: "0.4.0", keys: `"backend":""`, interfaces: "cni-podman0 veth0 [eth0]"},
	{name: "Podman 4", versions: "0.4.0 1.0.0", keys: `"backend":"","ingressPolicy":"same-bridge"`, interfaces: "cni-podman1 veth1 [eth0]"},
	{name: "nerdctl 0.22", versions: "0.4.0", keys: ``, interfaces: "br-4a5b6c7d8e9f veth2 [eth0]"},
	{name: "nerdctl 1", versions: "1.0.0", keys: `"ingressPolicy":"same-bridge"`, interfaces: "br-4a5b6c7d8e9f veth2 [eth0]"},
	{name: "nerdctl 2", versions: "1.0.0", keys: `"ingressPolicy":"isolated"`, interfaces: "br-4a5b6c7d8e9f veth2 [eth0]"},
	{name: "Nomad", versions: "0.4.0 1.0.0", keys: `"backend":"iptables","iptablesAdminChainName":"NOMAD-ADMIN"`, interfaces: "nomad veth3 [eth0]"},
	{name: "CRI-O", keys: ``, interfaces: "cni0 veth4 [eth0]", more: `"dns":{}`},
	{name: "BuildKit", versions: "0.4.0 1.0.0", keys: `"ingressPolicy":"same-bridge"`, interfaces: "buildkit0 veth5 [eth0]"},
	{name: "minikube", versions: "0.4.0 1.0.0", keys: ``, interfaces: "bridge veth6 [eth0]", more: `"dns":{"nameservers":["10.96.0.10"]}`},
	{name: "concourse", versions: "0.4.0", keys: `"iptablesAdminChainName":"CONCOURSE-OP"`, interfaces: "concourse0 veth7 [eth0]"},
	{name: "flannel", keys: `"capabilities":{"portMappings":true}`, interfaces: "cni0 veth4 [eth0]"},
	{name: "multus", versions: "1.0.0 1.1.0", keys: `"ingressPolicy":"same-bridge"`, interfaces: "cni0 veth4 [net1]", ifName: "net1"},
	{
		name: "bridge 1.9", versions: "1.1.0", keys: `"ingressPolicy":"isolated"`, interfaces: "cni0 veth4 [eth0]",
		more: `"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1400,"advmss":1360,"priority":7,"table":9,"scope":0}]`,
	},
	{name: "bridge with a VLAN's gateway", versions: "1.0.0 1.1.0", keys: ``, interfaces: "cni0 veth4 [eth0] cni0.5"},
	{name: "portmap and tuning between", versions: "1.1.0", keys: `"ingressPolicy":"open","firewalldZone":"trusted"`, interfaces: "cni0 veth4 [eth0]"},
	{name: "several interfaces", versions: "0.4.0 1.1.0", keys: `"ingressPolicy":"same-bridge"`, interfaces: "cni0 veth4 [eth0] [eth1] [lo]"},
	{name: "several sandboxes", versions: "0.4.0 1.1.0", keys: ``, interfaces: "cni0 veth4 [eth0] [tap0] eth0@vm1 eth0@vm2"},
}

// unbridged are behind plugins that make no bridge.
var unbridged = []input{
	{name: "ptp", versions: "0.4.0 1.0.0 1.1.0", interfaces: "vethptp [eth0]", addresses: "10.20.0.2/24 fd00:20::2/64"},
	{name: "Firecracker: ptp", versions: "0.4.0 1.0.0", interfaces: "vethptp [veth0]", addresses: "10.20.0.2/24", ifName: "veth0"},
	{name: "Firecracker: behind tc-redirect-tap", versions: "0.4.0 1.0.0", interfaces: "vethptp [veth0] [tap0] tap0@vm-0123456789abcdef", addresses: "10.20.0.2/24"},
	{name: "tap, by itself", versions: "1.0.0", interfaces: "[tap0]", addresses: "10.20.0.3/24"},
	{name: "macvlan", versions: "0.4.0 1.0.0 1.1.0", interfaces: "[eth0]", addresses: "192.0.2.7/24 2001:db8::7/64", away: true},
	{name: "ipvlan", versions: "0.4.0 1.1.0", interfaces: "[eth0]", addresses: "192.0.2.8/24", away: true},
	{name: "vlan", versions: "1.0.0", interfaces: "[eth0.7]", addresses: "192.0.2.9/24", away: true},
	{name: "host-device", versions: "0.4.0 1.1.0", interfaces: "[eth0]", addresses: "192.0.2.10/24", away: true},
	{name: "host-device for DPDK", versions: "1.1.0", interfaces: "0000:af:06.0", addresses: "192.0.2.10/24", away: true},
	{name: "SR-IOV", versions: "1.0.0 1.1.0", interfaces: "[net1]", addresses: "192.0.2.11/24", ifName: "net1", away: true},
	{name: "SR-IOV, bound to vfio", versions: "1.0.0 1.1.0", interfaces: "[0000:af:06.1]", addresses: "192.0.2.11/24", away: true},
	{name: "vhost-user", versions: "0.4.0 1.1.0", interfaces: "[-]", addresses: "192.0.2.12/24", away: true},
	{name: "vhost-user on the host", versions: "1.1.0", interfaces: "-", addresses: "192.0.2.12/24", away: true},
	{name: "RDMA beside", versions: "1.0.0", interfaces: "[eth0] mlx5_0_with_a_long_name", addresses: "192.0.2.13/24", away: true},
	{name: "OVS", versions: "0.4.0 1.0.0", interfaces: "vethptp [eth0]", addresses: "10.20.0.4/24"},
	{name: "kube-ovn without interfaces", versions: "0.4.0 1.0.0", addresses: "10.20.0.5/24"},
	{name: "dummy", versions: "1.0.0", interfaces: "[dummy0]", addresses: "10.20.0.6/32"},
	{name: "loopback", versions: "0.4.0 1.0.0", interfaces: "[lo]", addresses: "127.0.0.1/8 ::1/128", skips: "127.0.0.1/8 ::1/128"},
	{name: "loopback beside ptp", versions: "1.0.0", interfaces: "[lo] vethptp [eth0]", addresses: "127.0.0.1/8 10.20.0.2/24", skips: "127.0.0.1/8"},
	{name: "nothing", versions: "0.4.0 1.0.0 1.1.0", result: `{}`},
	{name: "no IPAM", versions: "0.4.0 1.0.0 1.1.0", interfaces: "[eth0]"},
	{name: "empty lists", versions: "1.0.0", result: `{"cniVersion":"1.0.0","interfaces":[],"ips":[],"routes":[],"dns":{}}`},
	{name: "nulls", versions: "1.0.0", result: `{"cniVersion":"1.0.0","interfaces":null,"ips":null,"routes":null}`},
}

// addressed are results with addresses that one does not think of.
var addressed = []input{
	{name: "/31", addresses: "10.20.0.0/31 10.20.0.1/31"},
	{name: "/30, first and last", addresses: "10.20.0.4/30 10.20.0.7/30"},
	{name: "/32 and /128", addresses: "10.20.0.9/32 fd00:20::9/128"},
	{name: "/127", addresses: "fd00:20::/127"},
	{name: "a network's and a broadcast address", addresses: "10.20.0.0/24 10.20.0.255/24"},
	{name: "a subnet router's anycast address", addresses: "fd00:20::/64"},
	{name: "link-local", addresses: "169.254.9.9/16 fe80::9/64"},
	{name: "mapped into IPv6", addresses: "::ffff:10.20.0.11/120"},
	{name: "twice", addresses: "10.20.0.12/24 10.20.0.12/24"},
	{name: "in two networks", addresses: "10.20.0.12/24 10.20.0.12/16"},
	{name: "many", addresses: "10.20.0.13/24 10.20.0.14/24 10.20.0.15/24 10.20.0.16/24 fd00:20::13/64 fd00:20::14/64"},
	{name: "unspecified", addresses: "0.0.0.0/0 10.20.0.2/24", skips: "0.0.0.0/0"},
	{name: "multicast", addresses: "224.0.0.5/4 10.20.0.2/24", skips: "224.0.0.5/4"},
	{name: "broadcast to all", addresses: "255.255.255.255/32 10.20.0.2/24", skips: "255.255.255.255/32"},
	{name: "IPv6's loopback, beside", addresses: "::1/128 fd00:20::2/64", skips: "::1/128"},
	{name: "leading zeros of a length", addresses: "10.20.0.2/024"},
	{name: "without a length", addresses: "10.20.0.2", ours: "not an address", upstream: "invalid CIDR"},
	{name: "too long a length", addresses: "10.20.0.2/33", ours: "not an address", upstream: "invalid CIDR"},
	{name: "with a zone", addresses: "fe80::1%eth0/64", ours: "not an address", upstream: "invalid CIDR"},
	{name: "a name", addresses: "localhost/8", ours: "not an address", upstream: "invalid CIDR"},
}

// strange are results that no plugin should answer with, and some do.
var strange = []input{
	{name: "an interface twice", interfaces: "cni0 veth4 [eth0] cni0 veth4 [eth0]", addresses: "10.1.0.2/24"},
	{name: "the bridge last", interfaces: "veth4 [eth0] cni0", addresses: "10.1.0.2/24"},
	{name: "unknown keys", interfaces: "cni0 veth4 [eth0]", addresses: "10.1.0.2/24", more: `"colour":"blue","x":{"y":[1]}`},
	{name: "the index of an interface out of range", result: `{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"}],"ips":[{"address":"10.1.0.2/24","interface":7},{"address":"10.1.0.3/24","interface":-1}]}`, addresses: "10.1.0.2/24 10.1.0.3/24"},
	{name: "no index of an interface", result: `{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"}],"ips":[{"address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24"},
	{name: "a gateway of the other family", result: `{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"}],"ips":[{"address":"10.1.0.2/24","gateway":"fd00::1"}]}`, addresses: "10.1.0.2/24"},
	{name: "the version of the other family", versions: "0.4.0", result: `{"cniVersion":"0.4.0","interfaces":[{"name":"cni0"}],"ips":[{"version":"6","address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24"},
	{name: "no version of a family", versions: "0.4.0", result: `{"cniVersion":"0.4.0","interfaces":[{"name":"cni0"}],"ips":[{"address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24"},
	{name: "no CNI version", versions: "0.4.0 1.0.0 1.1.0", result: `{"interfaces":[{"name":"cni0"}],"ips":[{"address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24"},
	{name: "of CNI 1.0.0", versions: "1.1.0", result: `{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"}],"ips":[{"address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24"},
	{name: "of CNI 0.3.1", versions: "0.4.0", result: `{"cniVersion":"0.3.1","interfaces":[{"name":"cni0"}],"ips":[{"version":"4","address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24"},
	{
		name: "of CNI 0.4.0 in 1.0.0", result: `{"cniVersion":"0.4.0","interfaces":[{"name":"cni0"}],"ips":[{"version":"4","address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24",
		upstream: "unmarshalled CNIVersion", why: "the form is the same",
	},
	{
		name: "of CNI 0.2.0", result: `{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24"}}`,
		ours: `it must have "ips"`, upstream: "unmarshalled CNIVersion",
	},
	{
		name: "a null among the addresses", result: `{"cniVersion":"1.0.0","ips":[null]}`,
		ours: "ips[0] is null", upstream: "panic",
	},
	{
		name: "a null among the interfaces", versions: "0.4.0", result: `{"cniVersion":"0.4.0","interfaces":[null,{"name":"cni0"}],"ips":[{"version":"4","address":"10.1.0.2/24"}]}`, addresses: "10.1.0.2/24",
		upstream: "panic", why: "no rule needs it",
	},
	{name: "an address that is none", result: `{"cniVersion":"1.0.0","ips":[{"address":7}]}`, ours: "reading prevResult", upstream: "cannot unmarshal"},
	{name: "a list", result: `[]`, ours: "reading prevResult", upstream: "cannot unmarshal"},
	{name: "none", result: `null`, ours: "prevResult is missing", upstream: "missing prevResult"},
	{
		name: "a route that is none", result: `{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"}],"ips":[{"address":"10.1.0.2/24"}],"routes":[{"dst":"everywhere"}]}`, addresses: "10.1.0.2/24",
		upstream: "invalid CIDR", why: "no rule needs it",
	},
}

// Why ours refuses what upstream's plugin takes.
const (
	whyTypo   = "upstream's takes it for no backend: a typing error chooses another one"
	whyBridge = "there is no bridge to isolate, and upstream's isolates whatever is named first"
	whyName   = "iptables reads the name as all that begin with it"
	whyJump   = "the operator's chain would jump into the plugin's own"
)

// keyed are entries, before the result of the bridge plugin.
var keyed = []input{
	{name: "no key", keys: ``},
	{name: "empty values", keys: `"backend":"","ingressPolicy":"","iptablesAdminChainName":"","firewalldZone":""`},
	{name: "null values", keys: `"backend":null,"ingressPolicy":null,"capabilities":null,"dns":null,"ipam":null`},
	{name: "unknown keys", keys: `"colour":"blue","ifName":"cni0","zone":"trusted","runtimeConfig":{"portMappings":[]}`},
	{name: "Podman's capabilities", keys: `"backend":"","capabilities":{"ips":true,"mac":true},"runtimeConfig":{"mac":"02:00:00:00:00:01"}`},
	{name: "args", keys: `"args":{"cni":{"ips":["10.1.0.2"],"labels":[{"key":"app","value":"x"}]}}`},
	{name: "cni.dev keys", versions: "1.1.0", keys: `"cni.dev/attachments":[]`},
	{name: "a zone that iptables has no use for", keys: `"backend":"iptables","firewalldZone":"my zone!"`},
	{name: "the longest admin chain", keys: `"iptablesAdminChainName":"` + longestChain + `"`},
	{name: "isolation of the older conflists", keys: `"ingressPolicy":"same-bridge","isolation":true`},
	{name: "backend auto", keys: `"backend":"auto"`, ours: `leave "backend" out`, why: whyTypo},
	{name: "backend none", keys: `"backend":"none"`, ours: `take the plugin's entry out`, why: whyTypo},
	{name: "backend ip6tables", keys: `"backend":"ip6tables"`, ours: `write "iptables"`, why: whyTypo},
	{name: "backend IPTables", keys: `"backend":"IPTables"`, ours: `write "iptables"`, why: whyTypo},
	{name: "backend with a space", keys: `"backend":" iptables"`, ours: `write "iptables"`, why: whyTypo},
	{name: "backend nft", keys: `"backend":"nft"`, ours: `write "nftables"`, why: whyTypo},
	{name: "backend firewall-cmd", keys: `"backend":"firewall-cmd"`, ours: `write "firewalld"`, why: whyTypo},
	{name: "backend ebpf", keys: `"backend":"ebpf"`, ours: "is unknown: it must be", why: whyTypo},
	{name: "backend that is a number", keys: `"backend":1`, ours: "must be a string", upstream: "cannot unmarshal"},
	{name: "ingressPolicy closed", keys: `"ingressPolicy":"closed"`, ours: "is unknown: it must be", upstream: "unknown ingress policy"},
	{name: "ingressPolicy Same-Bridge", keys: `"ingressPolicy":"Same-Bridge"`, ours: `write "same-bridge"`, upstream: "unknown ingress policy"},
	{name: "ingressPolicy that is a list", keys: `"ingressPolicy":["open"]`, ours: "must be a string", upstream: "cannot unmarshal"},
	{name: "an admin chain that is too long", keys: `"iptablesAdminChainName":"` + longestChain + `X"`, ours: "too long", upstream: "too long"},
	{name: "an admin chain with a space", keys: `"iptablesAdminChainName":"MY CHAIN"`, ours: "not a chain name", upstream: "Invalid chain name"},
	{name: "an admin chain of the plugin's", keys: `"iptablesAdminChainName":"CNI-ISOLATION-STAGE-1"`, ours: "is reserved", why: whyJump},
	{name: "isolated behind macvlan", keys: `"ingressPolicy":"isolated"`, interfaces: "[eth0]", ours: "needs a bridge", why: whyBridge},
	{name: "isolated behind ptp", keys: `"ingressPolicy":"same-bridge"`, interfaces: "vethptp [eth0]", ours: "needs a bridge", why: whyBridge},
	{name: "isolated without an interface", keys: `"ingressPolicy":"same-bridge"`, interfaces: "", result: `{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24"}]}`, ours: "needs a bridge", upstream: "interface needs to be set"},
	{name: "isolated, and a wildcard", keys: `"ingressPolicy":"isolated"`, interfaces: "cni+ veth4 [eth0]", ours: "ends in '+'", why: whyName},
	{name: "open, and a wildcard", keys: `"ingressPolicy":"open"`, interfaces: "cni+ [eth0]", away: true},
}

const longestChain = "CNI-ADMIN-OF-TWENTY-EIGHT-BY"

// corpus returns all inputs, one for each version.
func corpus() []input {
	var all []input
	for n, in := range bridged {
		for family, addresses := range map[string]string{
			"IPv4": fmt.Sprintf("10.%d.0.2/24", n), "IPv6": fmt.Sprintf("fd00:%d::2/64", n),
			"dual-stack": fmt.Sprintf("10.%d.0.3/24 fd00:%d::3/64", n, n), "no addresses": "",
		} {
			dual := in
			dual.name, dual.addresses = in.name+", "+family, addresses
			all = append(all, dual)
		}
	}
	all = append(all, unbridged...)
	for _, in := range addressed {
		in.name, in.interfaces = "address: "+in.name, "vethptp [eth0]"
		all = append(all, in)
	}
	for _, in := range strange {
		in.name = "result: " + in.name
		all = append(all, in)
	}
	for _, in := range keyed {
		in.name = "keys: " + in.name
		if in.result == "" {
			in.interfaces = cmp.Or(in.interfaces, "cni0 veth4 [eth0]")
			in.addresses = cmp.Or(in.addresses, "10.1.0.2/24")
		}
		all = append(all, in)
	}
	return slices.SortedFunc(each(all), func(a, b input) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.version, b.version))
	})
}

// each yields an input for each of the versions.
func each(all []input) func(func(input) bool) {
	return func(yield func(input) bool) {
		for _, in := range all {
			for _, version := range strings.Fields(cmp.Or(in.versions, "1.0.0")) {
				in.version = version
				if !yield(in) {
					return
				}
			}
		}
	}
}

// written returns the result of the input, in JSON. In words, an interface is on the host,
// in [the container], or at@another sandbox; "-" has no name.
func (in input) written(netns string) json.RawMessage {
	if in.result != "" {
		return json.RawMessage(in.result)
	}
	var interfaces, ips []string
	for i, word := range strings.Fields(in.interfaces) {
		name, sandbox, _ := strings.Cut(word, "@")
		if bare := strings.Trim(word, "[]"); bare != word {
			name, sandbox = bare, netns
		}
		interfaces = append(interfaces, fmt.Sprintf(`{"name":%q,"mac":"02:00:00:00:00:%02x","sandbox":%q}`, strings.TrimPrefix(name, "-"), i, sandbox))
	}
	for _, address := range strings.Fields(in.addresses) {
		ip := fmt.Sprintf(`"address":%q`, address)
		if len(interfaces) > 0 {
			ip += fmt.Sprintf(`,"interface":%d`, len(interfaces)-1)
		}
		if in.version == "0.4.0" {
			ip += `,"version":"` + map[bool]string{false: "4", true: "6"}[strings.Contains(address, ":")] + `"`
		}
		ips = append(ips, "{"+ip+"}")
	}
	members := []string{fmt.Sprintf(`"cniVersion":%q`, in.version)}
	if len(interfaces) > 0 {
		members = append(members, `"interfaces":[`+strings.Join(interfaces, ",")+`]`)
	}
	if len(ips) > 0 {
		members = append(members, `"ips":[`+strings.Join(ips, ",")+`]`)
	}
	if in.more != "" {
		members = append(members, in.more)
	}
	return json.RawMessage("{" + strings.Join(members, ",") + "}")
}

// conf returns what a plugin reads, with more members in front.
func (in input) conf(backend string, more ...string) string {
	members := slices.Concat(more, []string{fmt.Sprintf(`"cniVersion":%q,"name":"corpus","type":"firewall"`, in.version)})
	if in.keys != "" {
		members = append(members, in.keys)
	}
	if backend != "" && !strings.Contains(in.keys, `"backend":"`) {
		members = append(members, fmt.Sprintf(`"backend":%q`, backend))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// isolates reports whether the bridge must be isolated.
func (in input) isolates() bool {
	return in.ours == "" && (strings.Contains(in.keys, "isolated") || strings.Contains(in.keys, "same-bridge"))
}

// accepted returns the addresses, as rules have them, that upstream's plugin accepts, and
// those of them that ours accepts too.
func (in input) accepted() (upstreams, ours []string) {
	skips := strings.Fields(in.skips)
	for _, text := range strings.Fields(in.addresses) {
		address, _, _ := strings.Cut(text, "/")
		addr, err := netip.ParseAddr(address)
		if err != nil {
			continue
		}
		addr = addr.Unmap()
		host := netip.PrefixFrom(addr, addr.BitLen()).String()
		upstreams = append(upstreams, host)
		if !slices.Contains(skips, text) {
			ours = append(ours, host)
		}
	}
	return sorted(upstreams), sorted(ours)
}

func sorted(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}
