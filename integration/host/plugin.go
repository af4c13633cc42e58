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
	conf := map[string]any{"type": "firewall", "name": c.network.Name, "cniVersion": "1.0.0"}
	maps.Copy(conf, c.network.Firewall)
	conf["prevResult"] = json.RawMessage(c.PrevResult)
	stdin, err := json.Marshal(conf)
	if err != nil {
		return "", err
	}
	return Call(plugin, verb, string(stdin), c.Name, c.NetNS, variables...)
}

// Call calls one verb of a plugin with a standard input of one's own. The error
// holds what it wrote.
func Call(plugin, verb, stdin, containerID, netns string, variables ...string) (string, error) {
	var stdout, stderr strings.Builder
	cmd := exec.Command(plugin)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+containerID,
		"CNI_NETNS="+netns, "CNI_IFNAME=eth0", "CNI_PATH=/nowhere")
	cmd.Env = append(cmd.Env, variables...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s%s", verb, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
