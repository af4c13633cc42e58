// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Machine is what was measured on.
type Machine struct {
	Date       string            `json:"date"`
	Processor  string            `json:"processor"`
	Processors int               `json:"processors"`
	Kernel     string            `json:"kernel"`
	Versions   map[string]string `json:"versions"`
	LoadBefore string            `json:"loadBefore"` // averages of 1, 5 and 15 minutes
	LoadAfter  string            `json:"loadAfter"`
}

func describe(nerdctl bool) Machine {
	m := Machine{
		Date: time.Now().UTC().Format(time.DateOnly), Processor: "unknown processor", Processors: runtime.NumCPU(),
		Kernel: line(readFile("/proc/sys/kernel/osrelease")), Versions: map[string]string{}, LoadBefore: load(),
	}
	for text := range strings.Lines(readFile("/proc/cpuinfo")) {
		if key, value, _ := strings.Cut(text, ":"); strings.TrimSpace(key) == "model name" {
			m.Processor = strings.TrimSpace(value)
		}
	}
	programs := map[string][]string{
		"ours": {"bin/firewall"}, "upstream": {"bin/upstream/firewall"},
		"iptables": {"iptables-nft", "--version"}, "firewalld": {"/usr/bin/python3", "-c", "from firewall.config import VERSION; print(VERSION)"}, "iperf3": {"iperf3", "--version"},
	}
	if nerdctl {
		programs["nerdctl"] = []string{"bin/nerdctl/nerdctl", "--version"}
		programs["containerd"] = []string{"containerd", "--version"}
	}
	for name, command := range programs {
		output, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil {
			output = []byte(err.Error())
		}
		m.Versions[name] = line(string(output))
	}
	return m
}

// load returns the load averages: whatever else the machine does is noise.
func load() string {
	words := strings.Fields(readFile("/proc/loadavg"))
	return strings.Join(words[:min(3, len(words))], " ")
}

func readFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// line returns the first line.
func line(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	return text
}
