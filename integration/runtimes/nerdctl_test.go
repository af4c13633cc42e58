// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestNerdctl does with the plugin what nerdctl does with it, whose program
// cannot be had as a Go module: it runs it for its version, writes conflists by
// that, and calls the plugins in their order through libcni with its cache, DEL
// without CNI_NETNS, when the container is no more.
func TestNerdctl(t *testing.T) { onEachKind(t, testNerdctl) }

func testNerdctl(t *testing.T, h *host.Host, k kind) {
	n := newNerdctl(t, h)

	n.create("open", "open")
	n.runAll()
	n.check(t, open, "networks without isolation")
	n.removeAll()
	keepsOnly(t, h, k.keeps)
	settled := kernel(t, h, masquerading...)

	icc, noICC := n.policy(true), n.policy(false)
	for _, c := range []struct {
		blue    string
		blocked policy
	}{{icc, sameBridge}, {noICC, isolated}} {
		n.create(c.blue, icc)
		n.runAll()
		n.check(t, c.blocked, c.blue)
		must(h.Run(h.Firewall, "status"))(t)
		n.remove(peer)
		n.start(peer)
		n.check(t, c.blocked, c.blue+", after a restart of a container")
		n.removeAll()
		same(t, settled, kernel(t, h, masquerading...), c.blue+", after all is removed")
	}
}

// TestNerdctlInternal has a network of "nerdctl network create --internal": the
// host has no address on its bridge, and there is no portmap.
func TestNerdctlInternal(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.Scratch())
		n := newNerdctl(t, h)
		n.write("blue", strings.NewReplacer(
			`"isGateway": true,`, "", `"ipMasq": true,`, "", `"routes": [{"dst": "0.0.0.0/0"}],`, "",
			`{"type": "portmap", "capabilities": {"portMappings": true}},`, "",
		).Replace(nerdctlConflist("blue", n.policy(true))))
		n.start(server)
		n.start(peer)
		n.checkThe(t, []way{{from: peer, to: server}}, open, "an internal network")
		must(h.Run(h.Firewall, "status"))(t)
		n.remove(server)
		n.remove(peer)
		keepsOnly(t, h, documented)
	})
}

// nerdctl stands for it, and has what its containers see.
type nerdctl struct {
	*boxes
	cni *libcni.CNIConfig
}

func newNerdctl(t *testing.T, h *host.Host) *nerdctl {
	t.Helper()
	return &nerdctl{newBoxes(t, h), libcni.NewCNIConfigWithCacheDir([]string{host.PluginDir}, "/var/lib/cni", nil)}
}

// create writes both networks.
func (n *nerdctl) create(blue, red string) {
	n.t.Helper()
	n.write("blue", nerdctlConflist("blue", blue))
	n.write("red", nerdctlConflist("red", red))
}

func (n *nerdctl) write(name, conflist string) {
	n.t.Helper()
	ok(n.t, os.MkdirAll(filepath.Dir(n.path(name)), 0o755))
	ok(n.t, os.WriteFile(n.path(name), []byte(conflist), 0o644))
}

// path returns that of a network's conflist, in containerd's namespace default.
func (n *nerdctl) path(name string) string {
	return host.ConflistDir + "/default/nerdctl-" + name + ".conflist"
}

// runtime returns what nerdctl tells the plugins of a container.
func (n *nerdctl) runtime(name, netns string) (*libcni.NetworkConfigList, *libcni.RuntimeConf) {
	n.t.Helper()
	conf := &libcni.RuntimeConf{
		ContainerID: "default-" + networkID(name), NetNS: netns, IfName: "eth0", Args: [][2]string{{"IgnoreUnknown", "1"}},
	}
	if name == server {
		conf.CapabilityArgs = map[string]any{"portMappings": []map[string]any{
			{"hostPort": hostPort, "containerPort": containerPort, "protocol": "tcp", "hostIP": "0.0.0.0"},
		}}
	}
	return must(libcni.ConfListFromFile(n.path(networks[name])))(n.t), conf
}

func (n *nerdctl) start(name string) {
	n.t.Helper()
	list, conf := n.runtime(name, n.make(name))
	must(n.cni.AddNetworkList(context.Background(), list, conf))(n.t)
	n.serve(name)
}

// remove calls DEL as a container's hook poststop does: when it is no more.
func (n *nerdctl) remove(name string) {
	n.t.Helper()
	n.end(name)
	list, conf := n.runtime(name, "")
	ok(n.t, n.cni.DelNetworkList(context.Background(), list, conf))
}

func (n *nerdctl) runAll() {
	for _, name := range []string{server, peer, other} {
		n.start(name)
	}
}

func (n *nerdctl) removeAll() {
	n.t.Helper()
	for _, name := range []string{server, peer, other} {
		n.remove(name)
	}
	for _, name := range []string{"blue", "red"} {
		ok(n.t, os.Remove(n.path(name)))
	}
	removeBridges(n.t, n.h, bridgeOf("blue"), bridgeOf("red"))
}
