// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
)

// corpusLinks makes the interfaces that the inputs name: bridges with a container's port
// each, and the host end of a ptp container, with routes.
const corpusLinks = `
	ip netns add box
	n=0
	for bridge in cni-podman0 cni-podman1 br-4a5b6c7d8e9f nomad cni0 buildkit0 bridge concourse0; do
		ip link add $bridge type bridge
		ip link add veth$n type veth peer name eth$n netns box
		ip link set veth$n master $bridge
		ip link set $bridge up; ip link set veth$n up
		n=$((n + 1))
	done
	ip link add vethptp type veth peer name ptp netns box
	ip link set vethptp up
	ip route add 10.20.0.0/24 dev vethptp
	ip -6 route add fd00:20::/64 dev vethptp`

// corpusChains are the operator's chains that the inputs name.
var corpusChains = []string{"CNI-ADMIN", "NOMAD-ADMIN", "CONCOURSE-OP", longestChain}

// TestCorpus has what runtimes and plugins write, and what none should, go through every
// verb. Upstream's plugin sees the same: where it takes something, and ours does not, or
// the other way round, the input says why.
func TestCorpus(t *testing.T) {
	t.Parallel()
	if n := len(corpus()); n < 200 {
		t.Fatalf("there are only %d", n)
	}
	for _, b := range host.Backends {
		t.Run(b.Name, func(t *testing.T) {
			onBackend(t, b, func(t *testing.T, h *host.Host) {
				shell(t, h, corpusLinks)
				before := state(t, h)
				for i, in := range corpus() {
					// Of upstream's programs one variant is enough, and of firewalld's answers some.
					compared := b.Variant == "legacy"
					if !compared && !b.HasTable() && i%4 > 0 || b.Key == host.FirewalldZones && i%4 > 0 ||
						b.HasTable() && strings.Contains(in.keys, `"backend":"iptables"`) {
						continue
					}
					c := corpusCall{t, h, in, i}
					ours := c.live(h.Firewall)
					same(t, before, operators(h, state(t, h), corpusChains...), in.String())
					if left := records(t, dataDir); left != nil {
						t.Fatalf("%s: records left: %q", in, left)
					}
					if compared {
						c.compare(ours, c.live(h.Upstream()))
						shell(t, h, "for i in iptables ip6tables; do echo '*filter\nCOMMIT' | $i-restore; done")
					}
				}
			})
		})
	}
}

func (in input) String() string { return in.name + ", CNI " + in.version }

// corpusCall is the calls for one input.
type corpusCall struct {
	t      *testing.T
	h      *host.Host
	in     input
	number int
}

// call calls a verb.
func (c corpusCall) call(plugin, verb string, withResult bool, more ...string) outcome {
	netns, variables := "/run/netns/box", []string{}
	if withResult {
		more = append(more, `"prevResult":`+string(c.in.written(netns)))
	}
	if c.in.ifName != "" {
		variables = append(variables, "CNI_IFNAME="+c.in.ifName)
	}
	if verb == "DEL" && c.number%2 == 1 {
		netns = ""
	}
	if verb == "STATUS" || verb == "GC" {
		netns = ""
	}
	conf := c.in.conf(c.h.Backend.Key, more...)
	cmd := host.Command(plugin, verb, conf, fmt.Sprintf("container%d", c.number), netns, variables...)
	if plugin == c.h.Firewall {
		return finish(c.t, cmd)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return outcome{stdout.String(), stderr.String(), err}
}

// live takes the input through every verb. It returns what ADD answered, and what was
// accepted after it.
func (c corpusCall) live(plugin string) lived {
	c.t.Helper()
	isOurs := plugin == c.h.Firewall
	add := c.call(plugin, "ADD", true)
	l := lived{add, c.accepted()}
	if isOurs {
		c.check(l)
	}
	if add.err == nil {
		c.succeeds(plugin, "CHECK", true)
		if c.in.version == "1.1.0" {
			c.succeeds(plugin, "STATUS", false)
			c.collect(plugin)
		}
	}
	for n := range 2 {
		if o := c.call(plugin, "DEL", c.number%4 < 2 || n > 0); o.err != nil && isOurs {
			c.t.Errorf("%s: DEL: %v: %s%s", c.in, o.err, o.stdout, o.stderr)
		}
	}
	return l
}

// collect calls GC, which keeps the container, and then does not.
func (c corpusCall) collect(plugin string) {
	c.t.Helper()
	ifName := c.in.ifName
	if ifName == "" {
		ifName = "eth0"
	}
	before := c.accepted()
	self := fmt.Sprintf(`{"containerID":"container%d","ifname":%q}`, c.number, ifName)
	c.succeeds(plugin, "GC", false, `"cni.dev/valid-attachments":[`+self+`]`)
	if diff := cmp.Diff(before, c.accepted()); diff != "" {
		c.t.Errorf("%s: GC of others: %s", c.in, diff)
	}
	c.succeeds(plugin, "GC", false, `"cni.dev/valid-attachments":[]`)
	if left := c.accepted(); left != nil && plugin == c.h.Firewall {
		c.t.Errorf("%s: GC leaves %q", c.in, left)
	}
}

func (c corpusCall) succeeds(plugin, verb string, withResult bool, more ...string) {
	c.t.Helper()
	if o := c.call(plugin, verb, withResult, more...); o.err != nil {
		c.t.Errorf("%s: %s of %s: %v: %s%s", c.in, verb, plugin, o.err, o.stdout, o.stderr)
	}
}

// lived is what came of an ADD.
type lived struct {
	add      outcome
	accepted []string
}

// check wants of our ADD what the input says.
func (c corpusCall) check(l lived) {
	c.t.Helper()
	_, want := c.in.accepted()
	switch {
	case c.in.ours != "":
		want = nil
		l.add.coded7(c.t, c.in.String(), c.in.ours)
	case l.add.err != nil:
		c.t.Errorf("%s: ADD: %s%s", c.in, l.add.stdout, l.add.stderr)
	}
	if c.in.away && c.h.Backend.Key == host.NFTables {
		want = nil // the host does not route to it
	}
	if diff := cmp.Diff(want, l.accepted, cmpopts.EquateEmpty()); diff != "" {
		c.t.Errorf("%s: accepted (-want +got):\n%s", c.in, diff)
	}
	if c.in.isolates() {
		bridge, _, _ := strings.Cut(c.in.interfaces, " ")
		if element := `set isolated_bridges: element "` + bridge + `"`; !strings.Contains(must(c.h.Table())(c.t), element) {
			c.t.Errorf("%s: %s is not isolated", c.in, bridge)
		}
	}
}

// coded7 wants an error of a bad configuration, or of one that is not to be decoded.
func (o outcome) coded7(t *testing.T, what, words string) {
	t.Helper()
	o.refused(t, what, words)
	if o.err == nil {
		return
	}
	if code := errorObject(t, o.stdout).Code; code != 6 && code != 7 {
		t.Errorf("%s: code %d: %s", what, code, o.stdout)
	}
}

// compare wants of upstream's ADD what the input says, and of ours nothing that is worse.
func (c corpusCall) compare(ours, upstreams lived) {
	c.t.Helper()
	in, said := c.in, upstreams.add.stdout+upstreams.add.stderr
	if (in.upstream == "") != (upstreams.add.err == nil) || !strings.Contains(said, in.upstream) {
		c.t.Errorf("%s: upstream's ADD: %v: %s", in, upstreams.add.err, said)
	}
	if (in.ours == "") != (in.upstream == "") && in.why == "" {
		c.t.Errorf("%s: ours %q, upstream's %q, and nothing says why", in, in.ours, in.upstream)
	}
	if ours.add.err != nil || upstreams.add.err != nil {
		return
	}
	if want, _ := in.accepted(); !slices.Equal(want, upstreams.accepted) {
		c.t.Errorf("%s: upstream's accepts %q, and not %q", in, upstreams.accepted, want)
	}
	if diff := cmp.Diff(c.decoded(upstreams.add.stdout), c.decoded(ours.add.stdout)); diff != "" {
		c.t.Errorf("%s: result (-upstream's +ours):\n%s", in, diff)
	}
}

// decoded returns a result as libcni has it.
func (c corpusCall) decoded(stdout string) string {
	c.t.Helper()
	result, err := create.CreateFromBytes([]byte(stdout))
	if err != nil {
		c.t.Errorf("%s: %v: %s", c.in, err, stdout)
		return ""
	}
	version := result.Version()
	newest := must(types100.NewResultFromResult(result))(c.t)
	return version + string(must(json.MarshalIndent(newest, "", " "))(c.t))
}

var acceptances = regexp.MustCompile(strings.Join([]string{
	`(?m)^-A CNI-FORWARD -s (\S+) -j ACCEPT$`,
	`^set containers_ipv[46]: element .* \. ([0-9a-f.:/]+)`,
	`^zone trusted: source (\S+)$`,
}, "|"))

// accepted returns the addresses that rules of any backend accept.
func (c corpusCall) accepted() []string {
	c.t.Helper()
	var all []string
	for _, found := range acceptances.FindAllStringSubmatch(tables(c.t, c.h), -1) {
		all = append(all, strings.Join(found[1:], ""))
	}
	return sorted(all)
}
