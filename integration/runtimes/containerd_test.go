// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestContainerd has ctr attach containers to the network that stands in
// /etc/cni/net.d. It knows one only, the first; so each container finds that of
// its own there when it starts.
func TestContainerd(t *testing.T) { onEachKind(t, testContainerd) }

func testContainerd(t *testing.T, h *host.Host, k kind) {
	c := newContainerd(t, h)

	c.runAll("open")
	c.check(t, open, "networks without isolation")
	c.removeAll()
	keepsOnly(t, h, k.keeps)
	settled := kernel(t, h, masquerading...)

	c.runAll("same-bridge")
	c.check(t, sameBridge, "isolated networks")
	c.remove(peer)
	c.start(peer, "same-bridge")
	c.check(t, sameBridge, "after a container was killed, and started again")
	c.removeAll()
	same(t, settled, kernel(t, h, masquerading...), "after all is removed")

	c.abandon(peer, "same-bridge")
	if len(records(t)) != 1 {
		t.Fatalf("one container was abandoned, and there are records %q", records(t))
	}
	c.start(other, "same-bridge")
	c.remove(other)
	keepsOnly(t, h, k.keeps)
}

// containerd is containerd on a host, and what its containers see of it.
type containerd struct {
	world
	t       *testing.T
	h       *host.Host
	image   string
	running map[string]*exec.Cmd // ctr, for each container that it stays with
}

func newContainerd(t *testing.T, h *host.Host) *containerd {
	t.Helper()
	startContainerd(t, h)
	return &containerd{newWorld(t, h), t, h, must(h.Image())(t), map[string]*exec.Cmd{}}
}

// startContainerd starts the daemon.
func startContainerd(t *testing.T, h *host.Host) *exec.Cmd {
	t.Helper()
	return must(h.Containerd())(t)
}

// ctr returns what a command wrote. containerd names control groups by its
// namespace.
func (c *containerd) ctr(args ...string) string {
	c.t.Helper()
	return must(c.h.Run("ctr", append([]string{"-n", c.h.Cgroup}, args...)...))(c.t)
}

// configure puts the network of a container to where ctr finds it. ctr has no
// flag for published ports, which it would hand to portmap as runtimeConfig; the
// network can say it in its place.
func (c *containerd) configure(name, policy string) {
	c.t.Helper()
	n := network{name: networks[name], policy: policy}
	if name == server {
		n.published = fmt.Sprintf(`[{"hostPort": %d, "containerPort": %d, "protocol": "tcp"}]`, hostPort, containerPort)
	}
	ok(c.t, os.WriteFile(host.ConflistDir+"/10-network.conflist", n.plain(), 0o644))
}

// run returns the command that has ctr start a container.
func (c *containerd) run(name, policy string, options ...string) *exec.Cmd {
	c.t.Helper()
	c.configure(name, policy)
	args := append([]string{"-n", c.h.Cgroup, "run", "--cni", "--rootfs"}, options...)
	return exec.Command("ctr", append(append(args, c.image, name), host.Answer(name, containerPort)...)...)
}

// start has ctr stay with the container, so that it calls DEL in the end.
func (c *containerd) start(name, policy string) {
	c.t.Helper()
	cmd := c.run(name, policy, "--rm")
	cmd.Stderr = new(bytes.Buffer)
	ok(c.t, cmd.Start())
	c.running[name] = cmd
	err := host.Await(func() error { return c.tryAttach(c.h, name, "/proc/"+c.pid(name)+"/ns/net") })
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // for what it wrote
		c.t.Fatalf("ctr run of %s: %v: %s", name, err, cmd.Stderr)
	}
}

// abandon runs a container, kills it and takes the network away from it, without
// a DEL: ctr 1.6 calls none for what it has started with --detach.
func (c *containerd) abandon(name, policy string) {
	c.t.Helper()
	if output, err := c.run(name, policy, "--detach").CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %s", err, output)
	}
	c.ctr("task", "rm", "--force", name)
	c.ctr("container", "rm", name)
	removeBridges(c.t, c.h, network{name: networks[name]}.bridge())
}

// pid returns that of a container's task, if it runs: ctr attaches it before.
func (c *containerd) pid(name string) string {
	for line := range strings.Lines(c.ctr("task", "ls")) {
		if words := strings.Fields(line); words[0] == name && words[2] == "RUNNING" {
			return words[1]
		}
	}
	return ""
}

func (c *containerd) remove(name string) {
	c.t.Helper()
	c.detach(c.t, name)
	c.ctr("task", "kill", "--signal", "SIGKILL", name)
	var exit *exec.ExitError
	if err := c.running[name].Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGKILL) {
		c.t.Fatalf("ctr run of %s: %v: %s", name, err, c.running[name].Stderr)
	}
}

func (c *containerd) runAll(policy string) {
	for _, name := range []string{server, peer, other} {
		c.start(name, policy)
	}
}

func (c *containerd) removeAll() {
	for _, name := range []string{server, peer, other} {
		c.remove(name)
	}
	removeBridges(c.t, c.h, "blue0", "red0")
}
