// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/integration/host"
)

// withoutVariable has this program run another one that cannot reach nf_tables, as on a
// kernel without it.
const withoutVariable = "INTEGRATION_WITHOUT_NF_TABLES"

// hideNFTables runs a program for whom there is no netlink family of netfilter's.
// iptables-legacy needs none.
func hideNFTables(program string) error {
	const (
		number, family, protocol = 0, 16, 32 // of struct seccomp_data, on a little-endian machine
		load                     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal                    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer                   = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: load, K: number}, {Code: equal, Jf: 5, K: unix.SYS_SOCKET},
		{Code: load, K: family}, {Code: equal, Jf: 3, K: unix.AF_NETLINK},
		{Code: load, K: protocol}, {Code: equal, Jf: 1, K: unix.NETLINK_NETFILTER},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	}
	f := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&f)))
	if errno != 0 {
		return fmt.Errorf("installing a seccomp filter: %w", errno)
	}
	environment := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, withoutVariable+"=") })
	return syscall.Exec(program, append([]string{program}, os.Args[1:]...), environment)
}

// withoutNFTables puts a script in the place of the plugin, which starts it so.
func withoutNFTables(t *testing.T, h *host.Host) {
	t.Helper()
	plugin := h.Firewall
	h.Firewall = filepath.Join(t.TempDir(), "firewall")
	ok(t, host.WriteScript(h.Firewall, fmt.Sprintf("%s=%s exec %s \"$@\"\n", withoutVariable, plugin, must(os.Executable())(t))))
}

// TestWithoutNFTables has a kernel without nf_tables: iptables isolates alone, as
// upstream's plugin does, and status says what is weaker.
func TestWithoutNFTables(t *testing.T) {
	onVariant(t, "legacy", func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "allow"}, place{"strict", "allow"})
		w.checkAllOpen(t)
		plainly := h.Firewall
		withoutNFTables(t, h)
		w.protect(t, h)
		if table := must(h.Table())(t); table != "" {
			t.Fatalf("nf_tables is not hidden:\n%s", table)
		}
		one, two, three := w.networks[0], w.networks[1], w.networks[2]
		want := func(when string, from *host.Container, address string, port int, verdict host.Verdict) {
			t.Helper()
			if got, _, err := from.Connect(address, port, host.Patience); err != nil || got != verdict {
				t.Errorf("%s: from %s to %s: %s, %v, want %s", when, from.Name, address, got, err, verdict)
			}
		}
		isolates := func(when string) {
			t.Helper()
			for _, address := range []string{one.server.IPv4, one.server.IPv6} {
				want(when, two.server, address, containerPort, host.Blocked)
				want(when, one.peer, address, containerPort, host.Blocked)
			}
			for _, address := range []string{three.server.IPv4, three.server.IPv6} {
				want(when, w.outside, address, containerPort, host.Blocked)
				want(when, two.server, address, containerPort, host.Blocked)
				want(when, three.peer, address, containerPort, host.Open)
			}
			for _, address := range []string{host.HostIPv4, host.HostIPv6} {
				want(when+", published", w.outside, address, three.hostPort, host.Open)
				want(when+", published", two.server, address, one.hostPort, host.Blocked)
				want(when+", published", w.outside, address, one.hostPort, host.Open)
			}
		}
		isolates("alone")
		w.call(t, h.Firewall, "CHECK")
		v := look(t, h.Firewall)
		if !v.InForce || !strings.Contains(strings.Join(v.Warnings, "\n"), "iptables isolates alone") {
			t.Errorf("status: %+v", v)
		}

		shell(t, h, "flush")
		want("flushed", two.server, one.server.IPv4, containerPort, host.Open)
		must(two.server.Call(h.Firewall, "ADD"))(t)
		isolates("healed")

		watcher := startWatcher(t, h)
		soon(t, h, 2*time.Second, "a flush without nf_tables", func() {
			ok(t, watcher.cmd.Process.Signal(syscall.SIGSTOP))
			shell(t, h, "flush")
			want("flushed under a watcher", two.server, one.server.IPv4, containerPort, host.Open)
			ok(t, watcher.cmd.Process.Signal(syscall.SIGCONT))
		}, check(h, one.server), check(h, two.server))
		isolates("watched")
		watcher.end(t)

		// A network with addresses of one family is isolated in both.
		n := host.Dual("single", "single0", 7, place{"same-bridge", "allow"}.firewall())
		n.Subnets = n.Subnets[:1]
		single := plain(t, h, n, "single")
		must(single.Call(h.Firewall, "ADD"))(t)
		if got := len(linesWith(must(h.Rules())(t), "-A CNI-ISOLATION-STAGE-1 -i single0 ")); got != 2 {
			t.Errorf("isolated in %d families", got)
		}
		must(single.Call(h.Firewall, "DEL"))(t)

		// The kernel gets nf_tables: the next ADD isolates in the table, too.
		complaint(t, one.server, plainly)
		must(one.server.Call(plainly, "ADD"))(t)
		h.Firewall = plainly
		must(h.Run(h.Firewall, "restore"))(t)
		w.call(t, h.Firewall, "CHECK")
		w.check(t, usual, "with the table")
		w.remove(t, h)
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
	})
}
