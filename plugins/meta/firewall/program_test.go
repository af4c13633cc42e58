// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestProgramOf asks who changed rules. A script may be called as the plugin is.
func TestProgramOf(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	for pid, p := range map[int]struct {
		name, cmdline string
		parent        int
	}{
		1:  {"systemd", "/sbin/init\x00", 0},
		10: {"firewall", "/opt/cni/bin/firewall\x00", 1},
		11: {"iptables-restor", "/usr/sbin/iptables-restore\x00--noflush\x00", 10},
		12: {"firewall", "", 1}, // it ends
		13: {"iptables-restor", "iptables-restore\x00", 12},
		20: {"nft", "nft\x00flush\x00ruleset\x00", 1},
		30: {"firewall", "/bin/sh\x00/etc/init.d/firewall\x00stop\x00", 1},
		31: {"iptables", "iptables\x00-F\x00", 30},
		40: {"a) b (c", "x\x00", 10},
	} {
		dir := filepath.Join(proc, fmt.Sprint(pid))
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write("stat", fmt.Sprintf("%d (%s) S %d 1 1 0 -1", pid, p.name, p.parent))
		write("cmdline", p.cmdline)
	}
	if err := os.WriteFile(filepath.Join(proc, "50"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[int]struct {
		name    string
		started bool // by the plugin
	}{
		0:  {"another program", false},
		10: {`"firewall"`, false},
		11: {`"iptables-restor"`, true},
		12: {`"firewall"`, false},
		13: {`"iptables-restor"`, false},
		20: {`"nft"`, false},
		31: {`"iptables"`, false},
		40: {`"a) b (c"`, true},
		50: {"another program", false},
		51: {"another program", false},
	} {
		if name, started := programOf(proc, pid); name != want.name || started != want.started {
			t.Errorf("%d: got %s, %t", pid, name, started)
		}
	}
}
