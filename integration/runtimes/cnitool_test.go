// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"fmt"
	"os"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestCNITool has cnitool call every verb of CNI 1.1, with the cache that libcni
// keeps for it and without.
func TestCNITool(t *testing.T) { onEachKind(t, testCNITool) }

func testCNITool(t *testing.T, h *host.Host, k kind) {
	c := &cnitool{newBoxes(t, h)}
	c.configure("open")
	c.addAll()
	c.check(t, open, "networks without isolation")
	for _, name := range []string{server, peer, other} {
		c.del(name)
	}
	removeBridges(t, h, "blue0", "red0")
	keepsOnly(t, h, k.keeps)
	settled := kernel(t, h, masquerading...)

	c.configure("same-bridge")
	c.addAll()
	c.check(t, sameBridge, "isolated networks")
	c.satisfied(true)
	must(h.Run("sh", "-ec", k.harm))(t)
	c.satisfied(false)
	must(h.Run(h.Firewall, "restore"))(t)
	c.satisfied(true)

	ok(t, os.RemoveAll("/var/lib/cni/results"))
	before := kernel(t, h)
	ok(t, c.call("gc", server))
	same(t, before, kernel(t, h), "GC of who knows of no attachment")
	c.del(peer)
	c.has(server, other)
	c.add(peer)
	c.check(t, sameBridge, "after DEL without the cache, and ADD")
	c.end(peer)
	c.has(server, other, peer)
	ok(t, c.call("gc", server))
	c.has(server, other)
	c.checkThe(t, acrossBridges, sameBridge, "after GC of what is no more")
	c.del(server)
	c.del(other)
	removeBridges(t, h, "blue0", "red0")
	same(t, settled, kernel(t, h, masquerading...), "after all is removed")
}

// cnitool is cnitool on a host, and what its containers see of it.
type cnitool struct{ *boxes }

func (c *cnitool) configure(policy string) {
	c.t.Helper()
	for _, name := range []string{"blue", "red"} {
		n := network{name: name, version: "1.1.0", policy: policy}
		ok(c.t, os.WriteFile(host.ConflistDir+"/"+name+".conflist", n.plain(), 0o644))
	}
}

// call calls a verb for a container and its network.
func (c *cnitool) call(verb, name string) error {
	var ports string
	if name == server {
		ports = fmt.Sprintf(`{"portMappings": [{"hostPort": %d, "containerPort": %d, "protocol": "tcp"}]}`, hostPort, containerPort)
	}
	_, err := c.h.Run("env", "CNI_PATH="+host.PluginDir, "NETCONFPATH="+host.ConflistDir, "CAP_ARGS="+ports,
		c.h.CNITool(), verb, networks[name], c.netns(name))
	return err
}

func (c *cnitool) add(name string) {
	c.t.Helper()
	c.make(name)
	ok(c.t, c.call("add", name))
	c.serve(name)
}

func (c *cnitool) del(name string) {
	c.t.Helper()
	ok(c.t, c.call("del", name))
	c.end(name)
}

func (c *cnitool) addAll() {
	for _, name := range []string{server, peer, other} {
		c.add(name)
	}
}

// satisfied ends the test unless all plugins of all containers say so, or none
// of the networks does.
func (c *cnitool) satisfied(want bool) {
	c.t.Helper()
	for _, verb := range []string{"check", "status"} {
		for _, name := range []string{server, peer, other} {
			if err := c.call(verb, name); (err == nil) != want {
				c.t.Fatalf("%s of %s: %v", verb, name, err)
			}
		}
	}
}

// has ends the test unless the plugin remembers these containers and no other.
func (c *cnitool) has(names ...string) {
	c.t.Helper()
	if left := records(c.t); len(left) != len(names) {
		c.t.Fatalf("not records of %q: %q", names, left)
	}
}
