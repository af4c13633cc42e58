// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestNerdctlCrash kills containerd, a shim and its container, so that nobody calls
// DEL. containerd does when it starts again, by the bundle; where that is lost
// nobody ever will, and nerdctl knows no GC.
func TestNerdctlCrash(t *testing.T) {
	t.Parallel()
	for _, k := range nerdctlKinds {
		if k.upstream || k.name == "iptables-legacy" { // which has the same records
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			host.Test(t, func(t *testing.T, h *host.Host) { testNerdctlCrash(t, h, k) })
		})
	}
}

func testNerdctlCrash(t *testing.T, h *host.Host, k nerdctlKind) {
	ok(t, h.Scratch())
	ok(t, k.setUp(h))
	n := newNerdctl(t, h, k)
	n.runOpen()
	n.checkThe(t, ways, open, "networks that are edited")
	n.isolate()
	n.checkThe(t, ways, sameBridge, "before a crash")

	n.crash(server)
	n.checkThe(t, betweenPeers, sameBridge, "after a crash")
	n.daemon = startContainerd(t, h)
	ok(t, host.Await(func() error { return recordsAre(t, 2) }))
	n.status()

	n.run("rm", "--force", server)
	n.start(server)
	bundle := n.bundle(server)
	n.crash(server)
	ok(t, unix.Unmount(bundle+"/rootfs", 0))
	ok(t, os.RemoveAll(bundle))
	n.daemon = startContainerd(t, h)
	n.start(both, "red") // two attachments
	ok(t, recordsAre(t, 5))
	if said, err := h.Run(h.Firewall, "status"); err == nil || !strings.Contains(said, "was deleted without this plugin") {
		t.Fatalf("status of a record without a container: %v: %s", err, said)
	}
	n.checkThe(t, betweenPeers, sameBridge, "with a record without a container")
	n.run("stop", server) // calls DEL first, whether there is something to stop or not
	ok(t, recordsAre(t, 4))
	n.status()

	n.run("rm", "--force", server)
	n.remove(peer, other, both)
	n.run("network", "prune", "--force")
	n.leaves()
}

// betweenPeers are the ways that isolation is about, when server is no more.
var betweenPeers = []way{{from: theHost, to: peer}, {from: theHost, to: other}, {from: peer, to: other}, {from: other, to: peer}}

func recordsAre(t *testing.T, number int) error {
	if files := records(t); len(files) != number {
		return fmt.Errorf("%d records, and not %d: %q", len(files), number, files)
	}
	return nil
}

// bundle returns the directory by which containerd knows of a container that runs.
func (n *nerdctl) bundle(name string) string {
	n.t.Helper()
	return fmt.Sprintf("/run/containerd/io.containerd.runtime.v2.task/%s/%s", n.h.Cgroup, n.id(name))
}

// crash kills containerd, what runs a container, and the container.
func (n *nerdctl) crash(name string) {
	n.t.Helper()
	pid := n.pid(name)
	shim := parent(n.t, pid)
	n.detach(n.t, name)
	ok(n.t, n.daemon.Process.Kill())
	_ = n.daemon.Wait() // how it ended is no matter
	ok(n.t, syscall.Kill(shim, syscall.SIGKILL))
	ok(n.t, syscall.Kill(pid, syscall.SIGKILL))
}

func parent(t *testing.T, pid int) (parent int) {
	t.Helper()
	stat := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)))(t))
	_, fields, _ := strings.Cut(stat, ") ")
	must(fmt.Sscanf(fields, "%1s %d", new(string), &parent))(t)
	return parent
}
