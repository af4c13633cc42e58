// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
)

// Call calls one verb of a firewall plugin alone for the container, with the
// result of its ADD, and returns its standard output. Variables are added to the
// environment, written as name=value.
func (c *Container) Call(plugin, verb string, variables ...string) (string, error) {
	return Call(plugin, verb, c.Conf(), c.Name, c.NetNS, variables...)
}

// Conf returns what a firewall plugin reads for the container: its network's
// configuration and the result of its ADD.
func (c *Container) Conf() string {
	return c.network.Conf(map[string]any{"prevResult": c.PrevResult})
}

// Conf returns what a firewall plugin alone reads for the network, with more
// keys, or others.
func (n *Network) Conf(more map[string]any) string {
	conf := n.own(map[string]any{"type": "firewall", "name": n.Name, "cniVersion": "1.0.0"})
	maps.Copy(conf, more)
	text, err := json.Marshal(conf)
	if err != nil {
		panic(err) // the values are the test's own
	}
	return string(text)
}

// Call calls one verb of a plugin with a standard input of one's own. The error
// holds what it wrote.
func Call(plugin, verb, stdin, containerID, netns string, variables ...string) (string, error) {
	var stdout, stderr strings.Builder
	cmd := Command(plugin, verb, stdin, containerID, netns, variables...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s%s", verb, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Command returns the command of a call, for who wants more of it than its end.
func Command(plugin, verb, stdin, containerID, netns string, variables ...string) *exec.Cmd {
	cmd := exec.Command(plugin)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+containerID,
		"CNI_NETNS="+netns, "CNI_IFNAME=eth0", "CNI_PATH=/nowhere")
	cmd.Env = append(cmd.Env, variables...)
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}
