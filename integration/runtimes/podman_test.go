// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// The configuration that has Podman 4 use CNI, where systemd does not run. Left to
// itself it looks for plugins in the distribution's directory first.
const podmanConf = `[containers]
log_driver = "k8s-file"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"

[network]
network_backend = "cni"
`

const podmanPlugins = `cni_plugin_dirs = ["` + host.PluginDir + `"]
`

const storageConf = `[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`

// TestPodman has Podman isolate networks of its own making on every kind of host.
func TestPodman(t *testing.T) {
	onEachKind(t, func(t *testing.T, h *host.Host, k kind) { testPodman(t, h, k, podmanConf+podmanPlugins) })
}

// TestPodmanOfDistribution has the plugin installed over the distribution's,
// among whose other plugins it is chained.
func TestPodmanOfDistribution(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.Scratch())
		ok(t, h.OverDistribution())
		testPodman(t, h, kinds[0], podmanConf)
	})
}

func testPodman(t *testing.T, h *host.Host, k kind, conf string) {
	p := newPodman(t, h, conf)

	p.createNetworks()
	p.runAll()
	p.check(t, open, "networks without isolation")
	p.removeAll()
	keepsOnly(t, h, k.keeps)
	settled := kernel(t, h)

	p.createNetworks("--opt", "isolate=true")
	for _, name := range []string{"blue", "red"} {
		conflist := must(os.ReadFile(host.ConflistDir + "/" + name + ".conflist"))(t)
		if !strings.Contains(string(conflist), `"ingressPolicy": "same-bridge"`) {
			t.Fatalf("Podman wrote no policy: %s", conflist)
		}
	}
	p.runAll()
	p.check(t, sameBridge, "isolated networks")
	must(h.Run(h.Firewall, "status"))(t)
	p.restart(server)
	p.check(t, sameBridge, "after a restart of a container")
	p.kill(peer)
	p.start(peer)
	p.check(t, sameBridge, "after a container was killed, and started again")
	if k.firewalld == nil {
		must(h.Run("sh", "-ec", k.flush))(t)
		p.checkThe(t, acrossBridges, k.flushed, "after a flush")
	} else {
		must(k.firewalld.Cmd("--reload"))(t)
		p.checkThe(t, acrossBridges, sameBridge, "after firewalld has reloaded")
	}
	p.run("network", "reload", "--all")
	p.check(t, sameBridge, "after podman network reload")
	must(h.Run(h.Firewall, "status"))(t)
	p.removeAll()
	same(t, settled, kernel(t, h), "after all is removed")
}

// podman is Podman on a host, and what its containers see of it.
type podman struct {
	world
	t *testing.T
	h *host.Host
}

func newPodman(t *testing.T, h *host.Host, conf string) *podman {
	t.Helper()
	ok(t, os.WriteFile("/etc/containers/containers.conf", []byte(conf), 0o644))
	ok(t, os.WriteFile("/etc/containers/storage.conf", []byte(storageConf), 0o644))
	p := &podman{newWorld(t, h), t, h}
	image := must(h.Image())(t)
	must(h.Run("tar", "-C", image, "-cf", image+".tar", "."))(t)
	p.run("import", image+".tar", "image")
	return p
}

// run returns what a command wrote.
func (p *podman) run(args ...string) string {
	p.t.Helper()
	return strings.TrimSpace(must(p.h.Run("podman", args...))(p.t))
}

func (p *podman) createNetworks(options ...string) {
	for _, network := range []string{"blue", "red"} {
		p.run(append(append([]string{"network", "create"}, options...), network)...)
	}
}

func (p *podman) runAll() {
	for _, name := range []string{server, peer, other} {
		args := []string{"run", "--detach", "--name", name, "--network", networks[name], "--cgroup-parent", "/" + p.h.Cgroup}
		if name == server {
			args = append(args, "--publish", fmt.Sprintf("%d:%d", hostPort, containerPort))
		}
		p.run(append(append(args, "image"), host.Answer(name, containerPort)...)...)
		p.look(name)
	}
}

// look finds a container's network namespace.
func (p *podman) look(name string) {
	p.t.Helper()
	p.attach(p.t, p.h, name, p.run("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", name))
}

func (p *podman) restart(name string) {
	p.detach(p.t, name)
	p.run("restart", "--time", "0", name)
	p.look(name)
}

// kill waits until conmon, of which nobody waits for the end, has had Podman
// clean up.
func (p *podman) kill(name string) {
	p.t.Helper()
	p.detach(p.t, name)
	before := len(records(p.t))
	p.run("kill", name)
	ok(p.t, host.Await(func() error {
		if after := len(records(p.t)); after == before {
			return fmt.Errorf("%s was killed, and there still are %d records", name, after)
		}
		return nil
	}))
}

func (p *podman) start(name string) {
	p.run("start", name)
	p.look(name)
}

func (p *podman) removeAll() {
	p.detach(p.t, server, peer, other)
	p.run("rm", "--all", "--force", "--time", "0")
	p.run("network", "rm", "blue", "red")
}
