// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// addressless is a container that the bridge plugin gave no address.
type addressless struct {
	name, netns string
	keys        map[string]any // of the plugin under test, and prevResult
}

// newAddressless attaches a container to a bridge, with keys of the bridge plugin's.
func newAddressless(t *testing.T, h *host.Host, name, bridge, policy, keys string) addressless {
	t.Helper()
	c := addressless{name, "/run/netns/" + name, nil}
	shell(t, h, "ip netns add "+name)
	conf := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":%q,%s}`, bridge, keys)
	result := must(host.Call(filepath.Join(h.Plugins(), "bridge"), "ADD", conf, name, c.netns))(t)
	c.keys = map[string]any{"ingressPolicy": policy, "prevResult": json.RawMessage(result)}
	return c
}

func (c addressless) call(h *host.Host, verb string) error {
	n := &host.Network{Name: "addressless", Backend: h.Backend.Key}
	c.keys["cniVersion"] = "1.0.0"
	if verb == "STATUS" {
		c.keys["cniVersion"] = "1.1.0"
	}
	_, err := host.Call(h.Firewall, verb, n.Conf(c.keys), c.name, c.netns)
	return err
}

// TestWithoutAddresses takes containers without addresses through every verb, alone on
// the host and beside a container that has some.
func TestWithoutAddresses(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		var all []addressless
		for _, policy := range []string{"open", "same-bridge", "isolated"} {
			for kind, keys := range map[string]string{"ipam": `"ipam":{}`, "disabled": `"disableContainerInterface":true`} {
				all = append(all, newAddressless(t, h, kind+"-"+policy, "b-"+kind[:4]+policy[:4], policy, keys))
			}
		}
		all = append(all, newAddressless(t, h, "no-interface", "b-none", "open", `"ipam":{}`))
		all[len(all)-1].keys["prevResult"] = map[string]any{}
		neighbour := plain(t, h, host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall()), "neighbour")

		before := operators(h, state(t, h))
		for _, c := range all {
			c.live(t, h)
			same(t, before, operators(h, state(t, h)), c.name+", alone")
			if left := records(t, dataDir); left != nil {
				t.Fatalf("%s: records left: %q", c.name, left)
			}
		}
		must(neighbour.Call(h.Firewall, "ADD"))(t)
		before = state(t, h)
		for _, c := range all {
			c.live(t, h)
			same(t, before, state(t, h), c.name+", beside another")
		}
		must(neighbour.Call(h.Firewall, "CHECK"))(t)
	})
}

// live takes a container from its ADD to its DEL.
func (c addressless) live(t *testing.T, h *host.Host) {
	t.Helper()
	for _, verb := range []string{"ADD", "CHECK", "STATUS", "ADD", "CHECK"} {
		ok(t, c.call(h, verb))
	}
	added := state(t, h)
	healthy(t, h, c.name)
	must(h.Run(h.Firewall, "restore"))(t)
	same(t, added, state(t, h), c.name+": restore of what is there")
	if c.keys["ingressPolicy"] != "open" {
		shell(t, h, "wipe")
		if c.call(h, "CHECK") == nil {
			t.Errorf("%s: CHECK passes without any rule", c.name)
		}
		must(h.Run(h.Firewall, "restore"))(t)
		same(t, added, state(t, h), c.name+": restore of what was wiped")
	}
	ok(t, errors.Join(c.call(h, "CHECK"), c.call(h, "DEL"), c.call(h, "DEL")))
}

// TestBecomesOpen has a network without addresses become open with its second container:
// what isolated it goes.
func TestBecomesOpen(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := operators(h, state(t, h))
		first := newAddressless(t, h, "first", "br1", "isolated", `"ipam":{}`)
		second := newAddressless(t, h, "second", "br1", "open", `"ipam":{}`)
		ok(t, first.call(h, "ADD"))
		if linesWith(state(t, h), "br1") == nil {
			t.Fatal("the bridge is not isolated")
		}
		ok(t, second.call(h, "ADD"))
		same(t, before, operators(h, state(t, h)), "open by now")
		first.keys["ingressPolicy"] = "open"
		for _, verb := range []string{"CHECK", "STATUS", "DEL"} {
			ok(t, errors.Join(first.call(h, verb), second.call(h, verb)))
		}
		same(t, before, operators(h, state(t, h)), "after the last DEL")
	})
}

// TestOwnAddress has a container without addresses give itself one. Its bridge is isolated
// all the same.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		server := plain(t, h, host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall()), "server")
		ok(t, server.Serve(containerPort))
		c := newAddressless(t, h, "client", "br2", "same-bridge", `"ipam":{}`)
		shell(t, h, `
			ip addr add 10.2.0.1/24 dev br2; ip -6 addr add fd00:2::1/64 dev br2 nodad
			ip -n client addr add 10.2.0.2/24 dev eth0; ip -n client -6 addr add fd00:2::2/64 dev eth0 nodad
			ip -n client route add default via 10.2.0.1; ip -n client route add default via fd00:2::1`)
		client := must(h.Attach("client", c.netns))(t)
		ways := []probe{
			{family: "IPv4", protocol: "TCP", client: client, server: server, address: server.IPv4, port: containerPort},
			{family: "IPv6", protocol: "TCP", client: client, server: server, address: server.IPv6, port: containerPort},
		}
		expectVerdicts(t, "before ADD", ways, host.Open)
		must(server.Call(h.Firewall, "ADD"))(t)
		expectVerdicts(t, "before its own ADD", ways, host.Open)
		ok(t, c.call(h, "ADD"))
		expectVerdicts(t, "after ADD", ways, host.Blocked)
	})
}

// TestFirstAddress has a container with the first address of a network of two, and the
// address of lo in its result, too.
func TestFirstAddress(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		outside := must(h.Outside())(t)
		server := plain(t, h, host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall()), "server")
		ok(t, errors.Join(server.Serve(containerPort), outside.Serve(containerPort)))
		c := newAddressless(t, h, "client", "br2", "same-bridge", `"ipam":{}`)
		shell(t, h, `
			ip addr add 10.2.0.1/31 dev br2; ip -6 addr add fd00:2::1/127 dev br2 nodad
			ip -n client addr add 10.2.0.0/31 dev eth0; ip -n client -6 addr add fd00:2::/127 dev eth0 nodad
			ip -n client route add default via 10.2.0.1; ip -n client route add default via fd00:2::1`)
		result := map[string]any{}
		ok(t, json.Unmarshal(c.keys["prevResult"].(json.RawMessage), &result))
		for _, address := range []string{"127.0.0.1/8", "10.2.0.0/31", "fd00:2::/127"} {
			ips, _ := result["ips"].([]any)
			result["ips"] = append(ips, map[string]any{"address": address})
		}
		c.keys["prevResult"] = result
		client := must(h.Attach("client", c.netns))(t)
		within := []probe{
			{family: "IPv4", protocol: "TCP", client: client, server: server, address: server.IPv4, port: containerPort},
			{family: "IPv6", protocol: "TCP", client: client, server: server, address: server.IPv6, port: containerPort},
		}
		beyond := []probe{
			{family: "IPv4", protocol: "TCP", client: client, server: outside, address: outside.IPv4, port: containerPort},
			{family: "IPv6", protocol: "TCP", client: client, server: outside, address: outside.IPv6, port: containerPort},
		}
		expectVerdicts(t, "before ADD", within, host.Open)
		expectVerdicts(t, "before ADD", beyond, host.Open)
		if !h.Backend.HasTable() {
			shell(t, h, closeBoth)
			expectVerdicts(t, "with FORWARD closed", beyond, host.Blocked)
		}
		must(server.Call(h.Firewall, "ADD"))(t)
		ok(t, errors.Join(c.call(h, "ADD"), c.call(h, "CHECK")))
		expectVerdicts(t, "after ADD", beyond, host.Open)
		expectVerdicts(t, "after ADD", within, host.Blocked)
		ok(t, c.call(h, "DEL"))
	})
}
