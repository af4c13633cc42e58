// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"cmp"
	"fmt"
)

// network is one of two, called blue and red, for engines that write none.
type network struct {
	name      string
	version   string // of CNI, 1.0.0 if empty
	policy    string
	published string // what portmap is told, where the engine does not tell it
}

func (n network) bridge() string { return n.name + "0" }

func (n network) subnet() string { return map[string]string{"blue": "10.4.0", "red": "10.5.0"}[n.name] }

// plain returns the conflist as a user would write it, by our README.
func (n network) plain() []byte {
	published := ""
	if n.published != "" {
		published = `, "runtimeConfig": {"portMappings": ` + n.published + `}`
	}
	return fmt.Appendf(nil, `{
  "cniVersion": %q,
  "name": %q,
  "plugins": [
    {
      "type": "bridge", "bridge": %q, "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "%s.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}%s},
    {"type": "firewall", "ingressPolicy": %q}
  ]
}
`, cmp.Or(n.version, "1.0.0"), n.name, n.bridge(), n.subnet(), published, n.policy)
}
