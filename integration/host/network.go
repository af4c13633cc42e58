// SPDX-License-Identifier: Apache-2.0

package host

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// Network is a conflist of bridge, host-local, portmap and firewall, in the
// order in which nerdctl and Podman chain them.
type Network struct {
	Name       string
	CNIVersion string // 1.0.0 if empty
	Bridge     string
	BridgeKeys map[string]any // more keys of the plugin bridge, such as vlan
	Subnets    []string       // one a family
	Firewall   map[string]any // keys of the plugin under test, such as ingressPolicy
	Backend    string         // its backend; that of the host if empty
	Plain      bool           // without the plugin under test, for a control
	Isolation  bool           // with {"type":"isolation"} behind it
	Path       []string       // directories of plugins, ahead of the usual ones

	forwarded bool // the ports are forwarded already: see Forward
}

// Dual returns a network with addresses of both families: 10.n.0.0/24 and
// fd00:n::/64.
func Dual(name, bridge string, n int, firewall map[string]any) *Network {
	return &Network{
		Name: name, Bridge: bridge, Firewall: firewall,
		Subnets: []string{fmt.Sprintf("10.%d.0.0/24", n), fmt.Sprintf("fd00:%d::/64", n)},
	}
}

// Conflist returns the network as a runtime would write it.
func (n *Network) Conflist() []byte {
	var ranges [][]map[string]string
	for _, subnet := range n.Subnets {
		ranges = append(ranges, []map[string]string{{"subnet": subnet}})
	}
	firewall := n.own(map[string]any{"type": "firewall"})
	version := n.CNIVersion
	if version == "" {
		version = "1.0.0"
	}
	bridge := map[string]any{
		"type": "bridge", "bridge": n.Bridge, "isGateway": true, "ipMasq": false, "hairpinMode": true,
		"ipam": map[string]any{
			"type": "host-local", "dataDir": "/run/host-local", "ranges": ranges,
			"routes": []map[string]string{{"dst": "0.0.0.0/0"}, {"dst": "::/0"}},
		},
	}
	maps.Copy(bridge, n.BridgeKeys)
	plugins := []any{bridge}
	if !n.forwarded {
		plugins = append(plugins, map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}})
	}
	if !n.Plain {
		plugins = append(plugins, firewall)
	}
	if n.Isolation {
		plugins = append(plugins, map[string]any{"type": "isolation"})
	}
	text, err := json.MarshalIndent(map[string]any{
		"cniVersion": version,
		"name":       n.Name,
		"plugins":    plugins,
	}, "", "  ")
	if err != nil {
		panic(err) // the values are the test's own
	}
	return text
}

// own adds the keys of the plugin under test.
func (n *Network) own(conf map[string]any) map[string]any {
	if n.Backend != "" {
		conf["backend"] = n.Backend
	}
	maps.Copy(conf, n.Firewall)
	return conf
}

// cni returns libcni with the plugins of the repository.
func (h *Host) cni(n *Network) *libcni.CNIConfig {
	path := append(append([]string{}, n.Path...), filepath.Dir(h.Firewall), h.Plugins())
	return libcni.NewCNIConfigWithCacheDir(path, "/run/libcni", nil)
}

// Add makes a container and attaches it to a network, with ports of the host
// published as Podman and nerdctl do: host port to container port, TCP and UDP.
func (h *Host) Add(n *Network, name string, published map[int]int) (*Container, error) {
	c, err := h.namespace(name)
	if err != nil {
		return nil, err
	}
	c.host, c.network = h, n
	n.Backend = cmp.Or(n.Backend, h.Backend.Key)
	var mappings []map[string]any
	for hostPort, port := range published {
		for _, protocol := range []string{"tcp", "udp"} {
			mappings = append(mappings, map[string]any{"hostPort": hostPort, "containerPort": port, "protocol": protocol})
		}
	}
	c.runtime = &libcni.RuntimeConf{
		ContainerID: name, NetNS: c.NetNS, IfName: "eth0",
		CapabilityArgs: map[string]any{"portMappings": mappings},
	}
	return c, c.Add()
}

// Add attaches the container to its network.
func (c *Container) Add() error {
	list, err := libcni.ConfListFromBytes(c.network.Conflist())
	if err != nil {
		return err
	}
	result, err := c.host.cni(c.network).AddNetworkList(context.Background(), list, c.runtime)
	if err != nil {
		return err
	}
	return c.read(result)
}

func (c *Container) read(result types.Result) error {
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		return err
	}
	for _, ip := range r.IPs {
		if ip.Address.IP.To4() != nil {
			c.IPv4 = ip.Address.IP.String()
		} else {
			c.IPv6 = ip.Address.IP.String()
		}
	}
	c.PrevResult, err = json.Marshal(result)
	return err
}

// Check calls CHECK of all plugins of the container's network.
func (c *Container) Check() error {
	list, err := libcni.ConfListFromBytes(c.network.Conflist())
	if err != nil {
		return err
	}
	return c.host.cni(c.network).CheckNetworkList(context.Background(), list, c.runtime)
}

// Del detaches the container from its network.
func (c *Container) Del() error {
	list, err := libcni.ConfListFromBytes(c.network.Conflist())
	if err != nil {
		return err
	}
	return c.host.cni(c.network).DelNetworkList(context.Background(), list, c.runtime)
}

// GC tells all plugins of a network, in CNI 1.1, which of its containers are
// still there.
func (h *Host) GC(n *Network, valid ...*Container) error {
	list, err := libcni.ConfListFromBytes(n.Conflist())
	if err != nil {
		return err
	}
	args := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
	for _, c := range valid {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: c.Name, IfName: c.runtime.IfName})
	}
	return h.cni(n).GCNetworkList(context.Background(), list, args)
}
