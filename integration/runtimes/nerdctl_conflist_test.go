// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
)

var versionLine = regexp.MustCompile(`(?m)^CNI firewall plugin v(\d+)\.(\d+)\.(\d+)(?:[-+].*)?$`)

// policy returns what nerdctl writes for --opt icc=true, the default, or false.
// It wants v1.1.0 of the plugin for the one and v1.7.1 for the other, and reads
// the version from standard error.
func (n *nerdctl) policy(icc bool) string {
	n.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(n.h.Firewall)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stdout.Len() > 0 {
		n.t.Fatalf("running the plugin for its version: %v: %s%s", err, stdout.String(), stderr.String())
	}
	found := versionLine.FindStringSubmatch(stderr.String())
	if found == nil {
		n.t.Fatalf("no version in %q", stderr.String())
	}
	var version []int
	for _, number := range found[1:4] {
		version = append(version, must(strconv.Atoi(number))(n.t))
	}
	switch {
	case slices.Compare(version, []int{1, 1, 0}) < 0:
		n.t.Fatalf("nerdctl warns of version %v", version)
	case !icc && slices.Compare(version, []int{1, 7, 1}) >= 0:
		return "isolated"
	}
	return "same-bridge"
}

// networkID is that of a network; a bridge's name has the first twelve of it.
func networkID(name string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(name))) }

func bridgeOf(name string) string { return "br-" + networkID(name)[:12] }

// nerdctlConflist returns what nerdctl writes for a network, key by key.
func nerdctlConflist(name, policy string) string {
	subnet := network{name: name}.subnet()
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": %q,
  "nerdctlID": %q,
  "nerdctlLabels": {},
  "plugins": [
    {
      "type": "bridge",
      "bridge": %q,
      "isGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "ipam": {
        "ranges": [[{"gateway": "%s.1", "subnet": "%s.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "type": "host-local"
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "firewall", "ingressPolicy": %q},
    {"type": "tuning"}
  ]
}`, name, networkID(name), bridgeOf(name), subnet, subnet, policy)
}
