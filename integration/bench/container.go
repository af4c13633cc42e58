// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// sandbox is the network namespace that the crowd of containers shares. The
// plugins do not look inside.
const sandbox = "crowd"

// network is the shape of what is attached: on how many bridges, and whether
// with IPv6 too.
type network struct {
	Bridges int
	Dual    bool
}

// container is one of a crowd, by its number from 0. They go to the bridges in
// turn.
type container struct {
	network
	number int
}

func (c container) onBridge() int { return c.number % c.Bridges }

func (c container) bridge() string { return fmt.Sprintf("br%d", c.onBridge()) }

func (c container) port() string { return fmt.Sprintf("veth%d", c.number) }

// id is of the length that runtimes give.
func (c container) id() string {
	sum := sha256.Sum256([]byte(c.port()))
	return hex.EncodeToString(sum[:])
}

// gateways are the addresses of the bridge, as ip takes them.
func (c container) gateways() []string {
	return c.hosts(1)
}

// addresses are the container's, with the lengths of the network's prefix.
func (c container) addresses() []string {
	return c.hosts(2 + c.number/c.Bridges)
}

func (c container) hosts(n int) []string {
	b := c.onBridge()
	list := []string{fmt.Sprintf("10.%d.%d.%d/24", 64+b/256, b%256, n)}
	if c.Dual {
		list = append(list, fmt.Sprintf("fd00:%x::%x/64", 1+b, n))
	}
	return list
}

type object = map[string]any

// conf is what a firewall plugin reads for the container, as the runtime writes
// it. Without a backend the plugin chooses, as nerdctl has it.
func (c container) conf(s Side, prevResult object) []byte {
	conf := object{
		"cniVersion": "1.0.0", "name": "net" + c.bridge(), "type": "firewall", "ingressPolicy": cmp.Or(s.Policy, "same-bridge"),
	}
	if prevResult != nil {
		conf["prevResult"] = prevResult
	}
	if s.Backend != "" {
		conf["backend"] = s.Backend
	}
	text, err := json.Marshal(conf)
	if err != nil {
		panic(err) // the values are this program's own
	}
	return text
}

// result is what the bridge plugin leaves of the container.
func (c container) result() object {
	var ips []object
	for _, a := range c.addresses() {
		ips = append(ips, object{"address": a, "interface": 2})
	}
	return object{
		"cniVersion": "1.0.0",
		"interfaces": []object{
			{"name": c.bridge(), "mac": "9a:6c:5d:3e:11:02"},
			{"name": c.port(), "mac": "4e:0d:2b:5a:7c:31"},
			{"name": "eth0", "mac": "02:42:0a:04:00:02", "sandbox": "/run/netns/" + sandbox},
		},
		"ips":    ips,
		"routes": []object{{"dst": "0.0.0.0/0"}},
		"dns":    object{},
	}
}
