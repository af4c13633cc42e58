// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/netconf"
)

// ownNames are the names by which the plugin is started.
var ownNames = []string{netconf.PluginFirewall, netconf.PluginIsolation, "cni-firewall"}

// programOf returns the name of a process, for people, and whether the plugin has started
// it. A process that has ended is another program. After a deletion of rules the kernel
// keeps it for some milliseconds.
//
// proc is where procfs is mounted.
func programOf(proc string, pid int) (name string, started bool) {
	name, parent := readStat(proc, fmt.Sprint(pid))
	if name == "" {
		return "another program", false
	}
	return fmt.Sprintf("%q", name), slices.Contains(ownNames, startedAs(proc, parent))
}

// readStat returns the name of a process and the number of its parent.
func readStat(proc, pid string) (name, parent string) {
	text, err := os.ReadFile(filepath.Join(proc, pid, "stat"))
	begin, end := strings.Index(string(text), "("), strings.LastIndex(string(text), ")")
	if err != nil || begin < 0 || end < begin {
		return "", ""
	}
	name = string(text[begin+1 : end])
	if fields := strings.Fields(string(text[end+1:])); len(fields) > 1 {
		parent = fields[1]
	}
	return name, parent
}

// startedAs returns the name of the program that a process was started as: for a script,
// which may have any name, that of its interpreter.
func startedAs(proc, pid string) string {
	if pid == "" {
		return ""
	}
	text, _ := os.ReadFile(filepath.Join(proc, pid, "cmdline"))
	path, _, _ := strings.Cut(string(text), "\x00")
	return filepath.Base(path)
}
