// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// explainer returns the engine's own, in the test's process: a host's namespaces are those
// of the process.
func explainer(t *testing.T) *firewall.Explainer {
	t.Helper()
	return must(firewall.New(netconf.DefaultDataDir, firewall.ThisHost()).Explainer())(t)
}

// checkExplained ends the test unless explain says of every probe what its packets do.
func (w *world) checkExplained(t *testing.T, when string, wanted func(probe) host.Verdict) {
	t.Helper()
	x := explainer(t)
	want, got := map[string]string{}, map[string]string{}
	for _, p := range w.probes() {
		want[p.String()] = string(wanted(p))
		got[p.String()] = p.explained(x)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("what explain says %s (-packets +explain):\n%s", when, diff)
	}
}

// explained returns what explain says of the probe, and its reasons where they are of use
// to whoever reads the failure.
func (p probe) explained(x *firewall.Explainer) string {
	answer, err := x.Explain(p.fromOperand(), p.toOperand())
	if err != nil {
		return err.Error()
	}
	families := map[family]policy.Family{"IPv4": policy.IPv4, "IPv6": policy.IPv6}
	at := slices.IndexFunc(answer.Paths, func(path firewall.Path) bool { return path.Family == families[p.family] })
	if at < 0 {
		return "explained in no family"
	}
	if v := answer.Paths[at].Verdict; v != firewall.Unclear {
		return string(v)
	}
	return fmt.Sprintf("unclear: %+v", answer.Paths[at].Decisions)
}

// fromOperand returns where the probe comes from, as a user would say it.
func (p probe) fromOperand() string {
	if p.from == theHost || p.from == theOutside {
		return p.from
	}
	return p.client.Name
}

// toOperand returns where the probe goes.
func (p probe) toOperand() string {
	place := p.server.Name
	if p.path == published {
		place = theHost
	}
	suffix := ""
	if p.protocol == "UDP" {
		suffix = "/udp"
	}
	return fmt.Sprintf("%s:%d%s", place, p.port, suffix)
}

// obstacle is something that stops a connection which the policies let through.
type obstacle struct {
	name, befall string
	from, to     string   // of explain
	says         []string // in its problems
	undo         string   // where the cures do not
}

// obstacles stop a connection from the outside, or between containers of one bridge and of
// two, on a host with one backend or another.
var obstacles = []obstacle{
	{
		name: "a rule ahead", befall: "iptables -I FORWARD -d 10.3.0.2 -p tcp --dport 80 -j REJECT",
		from: "peer1", to: "server3:80",
		says: []string{"a rule of another program drops it", "chain FORWARD of table filter: -A FORWARD -d 10.3.0.2/32 -p tcp -m tcp --dport 80 -j REJECT"},
		undo: "iptables -D FORWARD -d 10.3.0.2 -p tcp --dport 80 -j REJECT",
	}, {
		name: "a rule ahead of routing", befall: "iptables -t raw -I PREROUTING -d 10.3.0.2 ! -i br3 -j DROP",
		from: "outside", to: "server3:80",
		says: []string{"a rule of another program drops it", "chain PREROUTING of table raw: -A PREROUTING -d 10.3.0.2/32 ! -i br3 -j DROP"},
		undo: "iptables -t raw -F PREROUTING",
	}, {
		name: "a rule of another table", befall: `nft add table inet guard; nft add chain inet guard passing '{ type filter hook forward priority 5; }'
			nft add chain inet guard deep; nft add rule inet guard passing iifname "br1" jump deep
			nft add rule inet guard deep ip daddr { 10.3.0.0/24, 192.0.2.1 } tcp dport 70-90 counter drop`,
		from: "peer1", to: "server3:80",
		says: []string{"a rule of another program drops it", "chain deep of table inet guard", "tcp dport 70-90"},
		undo: "nft delete table inet guard",
	}, {
		name: "what drops answers", befall: `nft add table inet guard; nft add chain inet guard passing '{ type filter hook forward priority 5; }'
			nft add map inet guard verdicts '{ type ifname : verdict; }'; nft add element inet guard verdicts '{ "br3" : drop }'
			nft add rule inet guard passing iifname vmap @verdicts`,
		from: "peer1", to: "server3:80",
		says: []string{"a rule of another program drops it", "iifname vmap @verdicts"},
		undo: "nft delete table inet guard",
	}, {
		name: "another table's policy", befall: "nft add table inet guard; nft add chain inet guard passing '{ type filter hook forward priority 5; policy drop; }'",
		from: "peer1", to: "server3:80",
		says: []string{"no rule accepts it, and the policy of the chain drops it", "chain passing of table inet guard: policy drop"},
		undo: "nft delete table inet guard",
	}, {
		name: "FORWARD's policy", befall: "iptables -P FORWARD DROP",
		from: "outside", to: "server3:80",
		says: []string{"no rule accepts it, and the policy of the chain drops it", "chain FORWARD of table filter: policy drop"},
		undo: "iptables -P FORWARD ACCEPT",
	}, {
		name: "the operator's rule", befall: "operators-rule",
		from: "peer1", to: "server3:80", says: []string{"a rule of your own drops it", "CNI-ADMIN"},
	}, {
		name: "ip_forward", befall: "sysctl -qw net.ipv4.ip_forward=0",
		from: "peer1", to: "server3:80", says: []string{"the host does not forward packets", "net.ipv4.ip_forward"},
	}, {
		name: "forwarding of one interface", befall: "sysctl -qw net.ipv4.conf.br1.forwarding=0",
		from: "peer1", to: "server3:80", says: []string{"the host does not forward packets", "net.ipv4.conf.br1.forwarding"},
	}, {
		name: "the flag of ports", befall: "for i in $(ls /sys/class/net/br1/brif); do echo 1 >/sys/class/net/br1/brif/$i/isolated; done",
		from: "peer1", to: "server1:80", says: []string{"the flag isolated"},
		undo: "for i in $(ls /sys/class/net/br1/brif); do echo 0 >/sys/class/net/br1/brif/$i/isolated; done",
	},
}

// TestExplainObstacle has something stop a connection: explain names it, and the cures that
// it prints let the packets through.
func TestExplainObstacle(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"}, place{"open", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		for _, o := range obstacles {
			saved := saveTables(t, h)
			p := w.probeFor(t, o.from, o.to)
			wantWay(t, o.name+", before", p, host.Open)
			befall := o.befall
			if befall == "operators-rule" {
				befall = operatorsDrop(h)
			}
			shell(t, h, befall)
			path := wantWay(t, o.name, p, host.Blocked)
			contains(t, o.name, fmt.Sprint(path.Reasons), o.says)
			cure(t, h, path)
			if o.name != "the flag of ports" {
				wantWay(t, o.name+", cured", p, host.Open)
			}
			shell(t, h, o.undo)
			saved.restore(t)
		}
	})
}

// operatorsDrop returns the command by which an operator keeps out a container.
func operatorsDrop(h *host.Host) string {
	if h.Backend.HasTable() {
		return "nft add rule inet cni_firewall CNI-ADMIN ip daddr 10.3.0.2 tcp dport 80 drop"
	}
	return "iptables -A CNI-ADMIN -d 10.3.0.2 -p tcp --dport 80 -j DROP"
}

// saveTables saves what cures may change, beside what undoes an obstacle.
func saveTables(t *testing.T, h *host.Host) forwards {
	t.Helper()
	f := forwards{h, map[string]string{}}
	for _, program := range []string{"iptables", "ip6tables"} {
		f.saved[program] = must(h.Run(program+"-save", "-t", "filter"))(t)
	}
	return f
}

// cure runs the commands that explain prints.
func cure(t *testing.T, h *host.Host, path firewall.Path) {
	t.Helper()
	for _, r := range path.Reasons {
		shell(t, h, fmt.Sprintf("mkdir -p /run/sbin; ln -sf '%s' /run/sbin/cni-firewall; PATH=/run/sbin:$PATH; %s", h.Firewall, r.Cure))
	}
}

// probeFor returns the probe by IPv4 of a question.
func (w *world) probeFor(t *testing.T, from, to string) probe {
	t.Helper()
	for _, p := range w.probes() {
		if p.family == "IPv4" && p.fromOperand() == from && p.toOperand() == to {
			return p
		}
	}
	t.Fatalf("no probe is from %s to %s", from, to)
	return probe{}
}

// wantWay ends the test unless both a packet and explain have a verdict. It returns what
// explain says.
func wantWay(t *testing.T, when string, p probe, want host.Verdict) firewall.Path {
	t.Helper()
	got := p.run()
	if got == string(host.Refused) && want == host.Blocked {
		got = string(host.Blocked) // by a reject
	}
	if got != string(want) {
		t.Fatalf("%s: %s: %s, and not %s", when, p, got, want)
	}
	answer := must(explainer(t).Explain(p.fromOperand(), p.toOperand()))(t)
	path := answer.Paths[0]
	if string(path.Verdict) != string(want) {
		t.Fatalf("%s: explain says %+v, and the packet %s", when, path, want)
	}
	return path
}

// TestExplainMissing takes rules of the plugin away: explain says that they are missing, and
// its cure puts them back.
func TestExplainMissing(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"same-bridge", "deny"})
		w.checkAllOpen(t)
		w.protect(t, h)
		p := w.probeFor(t, "peer1", "server2:80")
		path := wantWay(t, "before a flush", p, host.Blocked)
		contains(t, "before a flush", fmt.Sprint(path.Reasons), []string{
			`network "net2" is same-bridge: containers of other isolated networks do not reach its own, and "net1" is same-bridge`,
			`set "ingressPolicy": "open" in its conflist`,
		})
		contains(t, "before a flush", fmt.Sprint(path.Decisions), []string{"cni_firewall", "isolation_stage_2"})
		shell(t, h, "flush")
		path = wantWay(t, "after a flush", p, host.Open)
		if path.Wanted != firewall.Blocked {
			t.Errorf("explain wants it %s", path.Wanted)
		}
		contains(t, "after a flush", fmt.Sprint(path.Reasons), []string{"rules are missing, or another program changed them"})
		cure(t, h, path)
		wantWay(t, "cured", p, host.Blocked)
		path = wantWay(t, "by a denied port", w.probeFor(t, "peer1", "host:8002"), host.Blocked)
		contains(t, "by a denied port", fmt.Sprint(path.Reasons), []string{
			`network "net2" is same-bridge and denies published ports`, `set "publishedPorts": "allow"`,
		})
		path = wantWay(t, "by an allowed port", w.probeFor(t, "peer2", "host:8001"), host.Open)
		if path.To.Name != "server1" || path.To.Port != containerPort {
			t.Errorf("explain leads to %+v", path.To)
		}
	})
}

// TestExplainCutOff takes away what accepts a container where FORWARD drops the rest.
func TestExplainCutOff(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"open", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		shell(t, h, "iptables -P FORWARD DROP")
		p := w.probeFor(t, "peer1", "server2:80")
		path := wantWay(t, "before", p, host.Open)
		contains(t, "before", fmt.Sprint(path.Decisions), []string{"-A CNI-FORWARD -s 10.1.0.3/32 -j ACCEPT"})
		shell(t, h, "iptables -D CNI-FORWARD -s 10.1.0.3 -j ACCEPT")
		path = wantWay(t, "without a rule", p, host.Blocked)
		contains(t, "without a rule", fmt.Sprint(path.Reasons), []string{
			"rules are missing", "-s 10.1.0.3/32 -j ACCEPT", "chain FORWARD of table filter: policy drop",
		})
		shell(t, h, h.Firewall+" restore")
		wantWay(t, "restored", p, host.Open)
	})
}

// TestExplainZone has firewalld close what none of its zones allows: a network of another
// backend, and one whose source is gone.
func TestExplainZone(t *testing.T) {
	t.Parallel()
	onFirewalld(t, []place{{"same-bridge", "allow"}, {"open", "allow"}}, func(t *testing.T, r *ruled) {
		r.networks[1].network.Backend = host.NFTables
		r.protect(t, r.h)
		p := r.probeFor(t, "peer1", "server2:80")
		wantWay(t, "from a trusted network", p, host.Open)
		back := r.probeFor(t, "peer2", "server1:80")
		path := wantWay(t, "from another backend", back, host.Blocked)
		if r.rejects { // by rules of iptables
			contains(t, "from another backend", fmt.Sprint(path.Reasons), []string{"a rule of another program drops it"})
		} else {
			contains(t, "from another backend", fmt.Sprint(path.Reasons), []string{"firewalld drops what no zone of its allows"})
			cure(t, r.h, path)
			wantWay(t, "from another backend, cured", back, host.Open)
		}
		must(r.f.Cmd("--zone=trusted", "--remove-source=10.1.0.3/32"))(t)
		path = wantWay(t, "without a source", p, host.Blocked)
		contains(t, "without a source", fmt.Sprint(path.Reasons), []string{`zone "trusted" lacks source 10.1.0.3`})
		shell(t, r.h, r.h.Firewall+" restore")
		wantWay(t, "restored", p, host.Open)
	})
}

// TestExplainForwards has another program than portmap forward ports, by nft: in each way
// explain leads to the container that answers.
func TestExplainForwards(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated", "deny"}, place{"same-bridge", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		shell(t, h, `nft 'table inet forwards {
			map containers { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 9001 : 10.2.0.2 . 80 } }
			chain local { tcp dport 9002 dnat ip to 10.2.0.2:80; ip daddr 203.0.113.0/24 dnat ip to ip protocol . th dport map @containers; }
			chain prerouting { type nat hook prerouting priority -100; fib daddr type local jump local; }
		}'`)
		for _, port := range []int{9001, 9002} {
			for _, from := range []string{"peer1", "outside"} {
				p := w.probeFor(t, from, "host:8002")
				p.port = port
				path := wantWay(t, fmt.Sprintf("port %d", port), p, host.Open)
				if path.To.Name != "server2" || path.To.Port != containerPort {
					t.Errorf("port %d from %s: explain leads to %+v", port, from, path.To)
				}
			}
		}
		p := w.probeFor(t, "peer1", "server2:80")
		wantWay(t, "at its own address", p, host.Blocked)
	})
}
