// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/integration/host"
)

// hostFile is the host's configuration.
const hostFile = "/etc/cni-firewall/config.json"

// onEachWithEtc runs a test for each backend on a host with an /etc of its own.
func onEachWithEtc(t *testing.T, body func(t *testing.T, h *host.Host)) {
	t.Helper()
	for _, b := range host.Backends {
		t.Run(b.Name, func(t *testing.T) {
			host.Test(t, func(t *testing.T, h *host.Host) {
				ok(t, host.Overlay("/etc"))
				ok(t, h.Use(b))
				body(t, h)
			})
		})
	}
}

// configure writes the host's configuration; an empty one is none.
func configure(t *testing.T, content string) {
	t.Helper()
	ok(t, os.RemoveAll(filepath.Dir(hostFile)))
	if content != "" {
		ok(t, os.Mkdir(filepath.Dir(hostFile), 0o755))
		ok(t, os.WriteFile(hostFile, []byte(content), 0o644))
	}
}

// TestHostConfiguration has conflists that leave out the policy, and that say open, on a
// host whose operator says otherwise.
func TestHostConfiguration(t *testing.T) {
	t.Parallel()
	onEachWithEtc(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		configure(t, "")
		w := newWorld(t, h, place{"open", "allow"}, place{"open", "allow"}, place{"same-bridge", "allow"})
		silent, said := w.networks[0], w.networks[1]
		silent.alias, said.alias = "silent", "said"
		silent.network.Firewall = nil
		w.checkAllOpen(t)
		w.protect(t, h)
		w.check(t, usual, "without a host's configuration")

		configure(t, `{"defaults":{"ingressPolicy":"strict"},"networks":{"net2":{"ingressPolicy":"isolated-strict"},"n*":{"publishedPorts":"deny"}}}`)
		w.checkComplaints(t, h, silent, said)
		added := state(t, h)
		silent.place, said.place = place{"strict", "deny"}, place{"isolated-strict", "deny"}
		w.networks[2].place = place{"same-bridge", "deny"}
		w.protect(t, h)
		w.call(t, h.Firewall, "CHECK")
		w.check(t, usual, "with a host's configuration")
		tellsSources(t, h, "net1", "defaults", "networks n*")
		tellsSources(t, h, "net2", "networks net2", "networks n*")
		tellsSources(t, h, "net3", "conflist", "networks n*")

		// What cannot be read opens nothing, and keeps no container from being checked.
		closed := state(t, h)
		for _, broken := range []string{"", "{", `{"defaults":{"ingressPolicy":"opne"}}`} {
			ok(t, os.WriteFile(hostFile, []byte(broken), 0o644))
			verb(t, h, silent.server, "ADD").coded(t, "ADD with "+broken, 7, "reading the host's configuration "+hostFile)
			verb(t, h, silent.server, "CHECK").silent(t, "CHECK with "+broken, "warning: reading the host's configuration")
			status(t, h.Firewall, silent.network).coded(t, "STATUS with "+broken, 50, "reading the host's configuration")
			same(t, closed, state(t, h), "calls with "+broken)
		}
		w.check(t, usual, "with a host's configuration that cannot be read")
		for _, e := range w.networks {
			verb(t, h, e.server, "DEL").silent(t, "DEL", "warning: reading the host's configuration")
			must(e.peer.Call(h.Firewall, "DEL"))(t)
		}
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}

		// Without the file, everything is as before.
		configure(t, "")
		silent.place, said.place = place{"open", "allow"}, place{"open", "allow"}
		w.networks[2].place = place{"same-bridge", "allow"}
		w.protect(t, h)
		same(t, canonical(added), canonical(state(t, h)), "as before")
	})
}

// checkComplaints wants CHECK to fail for networks, as it does for a changed conflist.
func (w *world) checkComplaints(t *testing.T, h *host.Host, changed ...*end) {
	t.Helper()
	for _, e := range changed {
		complaint(t, e.server, h.Firewall)
	}
}

// tellsSources wants "cni-firewall status" to say where a network's policy, and what it
// says of published ports, come from.
func tellsSources(t *testing.T, h *host.Host, network, ingressPolicy, publishedPorts string) {
	t.Helper()
	var v struct {
		Networks []struct {
			Name    string
			Sources map[string]string
		}
	}
	ok(t, json.Unmarshal([]byte(must(h.Run(h.Firewall, "status", "-o", "json"))(t)), &v))
	for _, n := range v.Networks {
		if n.Name == network && (n.Sources["ingressPolicy"] != ingressPolicy || n.Sources["publishedPorts"] != publishedPorts) {
			t.Errorf("%s has sources %q", network, n.Sources)
		}
	}
	table := must(h.Run(h.Firewall, "status"))(t)
	_, table, _ = strings.Cut(table, "What sets it")
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, network+" ") && strings.Contains(line, ingressPolicy+" ") && strings.Contains(line, publishedPorts+" ") {
			return
		}
	}
	t.Errorf("status does not say where the values of %s come from:\n%s", network, table)
}

// TestHostConfigurationOfIsolation has the standalone plugin alone on a host that is
// stricter, and on one that is milder.
func TestHostConfigurationOfIsolation(t *testing.T) {
	t.Parallel()
	onEachWithEtc(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"open", "allow"}, place{"same-bridge", "deny"}, place{"same-bridge", "deny"})
		w.networks[2].alias = "another"
		w.checkAllOpen(t)
		call := func(verb string) {
			for i, e := range w.networks {
				name := "isolation"
				if i == 0 {
					name = "firewall"
				} else {
					e.network.Firewall = nil
				}
				must(callAs(h, e, e.server, name, verb))(t)
				must(callAs(h, e, e.peer, name, verb))(t)
			}
		}
		configure(t, `{"defaults":{"publishedPorts":"deny"},"networks":{"net2":{"ingressPolicy":"open"}}}`)
		call("ADD")
		call("CHECK")
		w.check(t, usual, "on a milder host")
		configure(t, `{"defaults":{"publishedPorts":"deny"},"networks":{"net2":{"ingressPolicy":"strict"}}}`)
		w.networks[1].place = place{"strict", "deny"}
		call("ADD")
		call("CHECK")
		w.check(t, usual, "on a stricter host")
	})
}

// TestHostConfigurationOwner has the file, and its directory, belong to others: to the
// host's nobody, too, who looks like root in a user namespace.
func TestHostConfigurationOwner(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		ok(t, host.Overlay("/etc"))
		check := func(what, want string) {
			t.Helper()
			o := finish(t, exec.Command(h.Firewall, "config", "check"))
			if (o.err == nil) != (want == "") || !strings.Contains(o.stderr, want) {
				t.Errorf("%s: %v: %s%s", what, o.err, o.stdout, o.stderr)
			}
		}
		configure(t, `{"defaults":{"ingressPolicy":"strict"}}`)
		check("root's", "")
		for _, owner := range []int{1000, 65534} {
			ok(t, os.Chown(hostFile, owner, 0))
			check("a user's file", fmt.Sprintf("it belongs to user %d: it must belong to user 0", owner))
			ok(t, os.Chown(hostFile, 0, owner))
			check("a group's file", "")
			ok(t, os.Chown(filepath.Dir(hostFile), owner, 0))
			check("a user's directory", fmt.Sprintf("its directory /etc/cni-firewall belongs to user %d", owner))
			ok(t, os.Chown(filepath.Dir(hostFile), 0, 0))
		}
	})
}

// firstID is the user who is root in the user namespaces of TestRootless.
const firstID = 100000

// rootless returns the command for a script of a user's engine: root in a user namespace
// where the host's root is nobody, as RootlessKit and Podman make it. The network
// namespace comes later: files below /proc/net belong to who is root when it is made.
func rootless(script string) *exec.Cmd {
	cmd := exec.Command("unshare", "--net", "sh", "-ec", script)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: firstID, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{},
	}
	return cmd
}

// TestHostConfigurationRootless has a user's engine read root's file: it holds for that,
// too, unless root keeps it to himself.
func TestHostConfigurationRootless(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		ok(t, host.Overlay("/etc"))
		const home = "/run/rootless"
		shell(t, h, fmt.Sprintf("mkdir -m 755 %[1]s; install -m 755 ../bin/firewall %[1]s; chown %[2]d:%[2]d %[1]s", home, firstID))
		add := func() outcome {
			t.Helper()
			return finish(t, rootless(fmt.Sprintf(`
				cd %s; rm -rf data; stat -c %%u %s >owner 2>&1 || true
				ip link add br1 type bridge; ip link set br1 up; ip link set lo up
				touch container; unshare --net=container ip link add veth1 type veth peer name port1 netns $$
				ip link set port1 master br1; ip link set port1 up
				call() {
					CNI_COMMAND=$1 CNI_CONTAINERID=c1 CNI_IFNAME=veth1 CNI_NETNS=$PWD/container CNI_PATH=/nowhere ./firewall <<-END
					{"cniVersion":"1.0.0","name":"net1","type":"firewall","backend":"nftables","dataDir":"$PWD/data","prevResult":
					{"cniVersion":"1.0.0","interfaces":[{"name":"br1"},{"name":"port1"}],"ips":[{"address":"10.1.0.2/24"}]}}
					END
				}
				call ADD >said || { cat said; exit 1; }
				call CHECK
				./firewall status -o json --data-dir $PWD/data`, home, hostFile)))
		}
		policy := func(what, want string) {
			t.Helper()
			o := add()
			if o.err != nil || !strings.Contains(o.stdout, fmt.Sprintf(`"ingressPolicy": %q,`, want)) {
				t.Errorf("%s: %v: %s%s", what, o.err, o.stdout, o.stderr)
			}
		}
		configure(t, "")
		policy("no file", "open")
		configure(t, `{"defaults":{"ingressPolicy":"strict"}}`)
		policy("root's file", "strict")
		if owner := must(h.Run("cat", home+"/owner"))(t); owner != "65534\n" {
			t.Errorf("root's file seems to belong to %s", owner)
		}
		ok(t, os.Chown(hostFile, firstID, firstID))
		policy("the user's file", "strict")
		ok(t, os.Chown(hostFile, firstID+1000, firstID))
		if o := add(); o.err == nil || !strings.Contains(o.stdout+o.stderr, "it belongs to user 1000") {
			t.Errorf("another user's file: %v: %s%s", o.err, o.stdout, o.stderr)
		}
		ok(t, os.Chown(hostFile, 0, 0))
		ok(t, os.Chmod(hostFile, 0o600))
		policy("a file for root alone", "open")
		ok(t, os.Chmod(hostFile, 0o666))
		if o := add(); o.err == nil || !strings.Contains(o.stdout+o.stderr, "it has mode 0666") {
			t.Errorf("a file that others write: %v: %s%s", o.err, o.stdout, o.stderr)
		}
	})
}
