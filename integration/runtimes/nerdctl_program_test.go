// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// nerdctl is nerdctl on a host, and what its containers see of it.
type nerdctl struct {
	world
	t      *testing.T
	h      *host.Host
	kind   nerdctlKind
	daemon *exec.Cmd // containerd

	stopping *exec.Cmd
}

// newNerdctl starts containerd with an image. Control groups are named by
// containerd's namespace.
func newNerdctl(t *testing.T, h *host.Host, k nerdctlKind) *nerdctl {
	t.Helper()
	daemon := startContainerd(t, h)
	ok(t, os.Setenv("CONTAINERD_NAMESPACE", h.Cgroup))
	n := &nerdctl{world: newWorld(t, h), t: t, h: h, kind: k, daemon: daemon}
	archive := must(h.Archive(must(h.Image())(t), "docker.io/library/image:latest"))(t)
	must(h.Run("ctr", "images", "import", archive))(t)
	return n
}

// run returns what a command wrote.
func (n *nerdctl) run(args ...string) string {
	n.t.Helper()
	return strings.TrimSpace(must(n.h.Run(n.h.Nerdctl(), args...))(n.t))
}

// networkNumbers are part of the addresses of networks.
var networkNumbers = map[string]int{"blue": 41, "red": 42, "green": 43, "secret": 44}

// create has nerdctl write a network.
func (n *nerdctl) create(name string, options ...string) {
	n.t.Helper()
	number := networkNumbers[name]
	n.run(append(append([]string{"network", "create", "--ipv6", "--subnet", fmt.Sprintf("10.%d.0.0/24", number),
		"--subnet", fmt.Sprintf("fd00:%d::/64", number)}, options...), name)...)
	n.setBackend(name)
}

// setBackend has a network use the backend of the host.
func (n *nerdctl) setBackend(name string) {
	n.t.Helper()
	const entry = `"type": "firewall",`
	if n.kind.backend != "" {
		n.edit(name, entry, fmt.Sprintf("%s\n      \"backend\": %q,", entry, n.kind.backend))
	}
}

// edit changes a conflist as an operator does: nerdctl has no options for the keys of
// the plugin, and reads the file again whenever it starts a container.
func (n *nerdctl) edit(name, old, replacement string) {
	n.t.Helper()
	path := fmt.Sprintf("%s/%s/nerdctl-%s.conflist", host.ConflistDir, n.h.Cgroup, name)
	before := string(must(os.ReadFile(path))(n.t))
	if strings.Count(before, old) != 1 {
		n.t.Fatalf("no place for %s in %s: %s", replacement, path, before)
	}
	ok(n.t, os.WriteFile(path, []byte(strings.Replace(before, old, replacement, 1)), 0o644))
}

// bridgeOf returns the name that nerdctl gives to a network's bridge.
func bridgeOf(network string) string {
	return fmt.Sprintf("br-%x", sha256.Sum256([]byte(network)))[:len("br-")+12]
}

// published are the options of those who publish ports.
var published = map[string][]string{
	server: {
		"--publish", fmt.Sprintf("%d:%d", hostPort, containerPort),
		"--publish", fmt.Sprintf("[::]:%d:%d", hostPort, containerPort),
		"--publish", fmt.Sprintf("%d:%d/udp", hostPort, udpPort),
		"--publish", fmt.Sprintf("%s:%d:%d", host.HostIPv4, addressPort, containerPort),
		"--publish", fmt.Sprintf("%d-%d:%d-%d", rangePort-1, rangePort, containerPort, containerPort+1),
	},
	first: {"--publish", fmt.Sprintf("%d:%d", firstPort, containerPort)},
}

// start runs a container, with networks besides its own.
func (n *nerdctl) start(name string, more ...string) {
	n.t.Helper()
	n.run(n.command(name, more...)...)
	n.look(name)
}

// command returns that which runs a container. It answers at two ports.
func (n *nerdctl) command(name string, more ...string) []string {
	args := []string{"run", "--detach", "--pull", "never", "--name", name}
	for _, network := range append([]string{networks[name]}, more...) {
		args = append(args, "--network", network)
	}
	answer := fmt.Sprintf("%s & exec %s", words(host.Answer(name, containerPort+1)), words(host.Answer(name, containerPort)))
	return slices.Concat(args, published[name], []string{"image", "/bin/sh", "-c", answer})
}

func words(list []string) string { return strings.Join(list, " ") }

// look finds a container's network namespace. nerdctl gives no network a default
// route for IPv6, without which a container reaches its own bridge alone.
func (n *nerdctl) look(name string) {
	n.t.Helper()
	netns := fmt.Sprintf("/proc/%d/ns/net", n.pid(name))
	n.attach(n.t, n.h, name, netns)
	if n.world[name].IPv6 != "" {
		via := fmt.Sprintf("fd00:%d::1", networkNumbers[networks[name]])
		must(n.h.Run("nsenter", "--net="+netns, "ip", "-6", "route", "add", "default", "via", via))(n.t)
	}
	if name == server {
		ok(n.t, n.world[name].Serve(udpPort))
	}
}

func (n *nerdctl) id(name string) string {
	n.t.Helper()
	return n.run("inspect", "--format", "{{.Id}}", name)
}

func (n *nerdctl) pid(name string) int {
	n.t.Helper()
	return must(strconv.Atoi(n.run("inspect", "--format", "{{.State.Pid}}", name)))(n.t)
}

const nerdctlPolicy, openPolicy = `"ingressPolicy": "same-bridge"`, `"ingressPolicy": "open"`

// runOpen runs containers on networks that are not isolated.
func (n *nerdctl) runOpen() {
	for _, name := range []string{"blue", "red"} {
		n.create(name)
		n.edit(name, nerdctlPolicy, openPolicy)
	}
	n.start(server)
	n.start(peer)
	n.start(other)
}

// isolate has the networks say again what nerdctl wrote.
func (n *nerdctl) isolate() {
	n.edit("blue", openPolicy, nerdctlPolicy)
	n.edit("red", openPolicy, nerdctlPolicy)
	n.restart(server)
	n.restart(peer)
	n.restart(other)
}

func (n *nerdctl) restart(name string) {
	n.t.Helper()
	n.detach(n.t, name)
	n.run("restart", "--time", "0", name)
	n.look(name)
}

// stopSlowly has nerdctl stop a container that does not hear. It calls DEL first, for
// which the address is given back.
func (n *nerdctl) stopSlowly(name string) {
	n.t.Helper()
	address := fmt.Sprintf("/var/lib/cni/networks/%s/%s", networks[name], n.world[name].IPv4)
	must(os.Stat(address))(n.t)
	n.stopping = exec.Command(n.h.Nerdctl(), "stop", "--time", "3600", name)
	ok(n.t, n.stopping.Start())
	ok(n.t, host.Await(func() error {
		if _, err := os.Stat(address); !os.IsNotExist(err) {
			return fmt.Errorf("%s is there: %w", address, err)
		}
		return nil
	}))
}

// end kills a container that is being stopped, and starts it again.
func (n *nerdctl) end(name string) {
	n.t.Helper()
	pid := n.pid(name)
	n.detach(n.t, name)
	ok(n.t, syscall.Kill(pid, syscall.SIGKILL))
	ok(n.t, n.stopping.Wait())
	n.run("start", name)
	n.look(name)
}

// revive kills a container, and waits for containerd to run it again. It may not
// do so at any other time: when nerdctl stops a container, containerd 1.6 starts it
// again, and does not know "update --restart no", either.
func (n *nerdctl) revive(name string) {
	n.t.Helper()
	n.detach(n.t, name)
	before := n.pid(name)
	n.run("update", "--restart", "always", name)
	ok(n.t, syscall.Kill(before, syscall.SIGKILL))
	ok(n.t, host.Await(func() error {
		now, err := n.h.Run(n.h.Nerdctl(), "inspect", "--format", "{{.State.Running}} {{.State.Pid}}", name)
		if err == nil && (!strings.HasPrefix(now, "true ") || strings.Contains(now, fmt.Sprintf(" %d\n", before))) {
			err = fmt.Errorf("%s was process %d, and is: %s", name, before, now)
		}
		return err
	}))
	must(n.h.Run("ctr", "containers", "label", n.id(name), "containerd.io/restart.status="))(n.t)
	n.look(name)
}

func (n *nerdctl) remove(names ...string) {
	n.t.Helper()
	n.detach(n.t, names...)
	n.run(append([]string{"rm", "--force"}, names...)...)
}

// runGreen has a network of its own keep its containers apart, with br_netfilter or
// without.
func (n *nerdctl) runGreen(brNetfilter string) {
	n.t.Helper()
	if n.world[first] != nil {
		n.remove(first, second)
		n.run("network", "rm", "green")
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		ok(n.t, n.h.Sysctl("net/bridge/bridge-nf-call-"+name+"="+brNetfilter))
	}
	n.create("green", "--opt", "icc=false")
	n.start(first)
	n.start(second)
}

func (n *nerdctl) runInternal() {
	n.create("secret", "--internal")
	n.start(member)
	n.start(comember)
}

// forward sets FORWARD's policy.
func (n *nerdctl) forward(policy string) {
	n.t.Helper()
	for _, program := range []string{"iptables", "ip6tables"} {
		must(n.h.Run(program, "-P", "FORWARD", policy))(n.t)
	}
}

// restore puts back what a flush took from those that were not attached again.
func (n *nerdctl) restore() {
	n.t.Helper()
	if !n.kind.upstream {
		must(n.h.Run(n.h.Firewall, "restore"))(n.t)
	}
}

// status ends the test unless the plugin is content. Upstream's cannot say.
func (n *nerdctl) status() {
	n.t.Helper()
	if n.kind.upstream {
		return
	}
	if said, err := n.h.Run(n.h.Firewall, "status"); err != nil {
		n.t.Fatalf("%v: %s", err, said)
	}
}

// removeAll removes containers while they run and when they are stopped, and
// networks that nobody uses.
func (n *nerdctl) removeAll() {
	n.t.Helper()
	n.remove(peer, other, both, first, second, member, comember)
	n.detach(n.t, server)
	n.run("stop", "--time", "0", server)
	n.run("container", "prune", "--force")
	n.run("network", "prune", "--force")
	if left := n.run("ps", "--all", "--quiet"); left != "" {
		n.t.Fatalf("containers are left: %s", left)
	}
}

// links are those of the host, with their addresses.
func (n *nerdctl) links() string {
	n.t.Helper()
	return must(n.h.Run("ip", "-br", "address"))(n.t)
}
