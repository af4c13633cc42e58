// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// boxes are containers without an engine: each is a network namespace and one
// process in it.
type boxes struct {
	world
	t       *testing.T
	h       *host.Host
	image   string
	servers map[string]*exec.Cmd
}

func newBoxes(t *testing.T, h *host.Host) *boxes {
	t.Helper()
	return &boxes{newWorld(t, h), t, h, must(h.Image())(t), map[string]*exec.Cmd{}}
}

// make returns the path of a container's namespace.
func (b *boxes) make(name string) string {
	b.t.Helper()
	must(b.h.Run("ip", "netns", "add", name))(b.t)
	return b.netns(name)
}

func (b *boxes) netns(name string) string { return "/run/netns/" + name }

// serve starts the process of a container that is attached to its network.
func (b *boxes) serve(name string) {
	b.t.Helper()
	args := append([]string{"netns", "exec", name, "chroot", b.image}, host.Answer(name, containerPort)...)
	b.servers[name] = exec.Command("ip", args...)
	ok(b.t, b.servers[name].Start())
	b.attach(b.t, b.h, name, b.netns(name))
}

// end ends a container, and with it its namespace.
func (b *boxes) end(name string) {
	b.t.Helper()
	b.detach(b.t, name)
	ok(b.t, b.servers[name].Process.Kill())
	var exit *exec.ExitError
	if err := b.servers[name].Wait(); !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	must(b.h.Run("ip", "netns", "del", name))(b.t)
}
