// SPDX-License-Identifier: Apache-2.0

// Package netconf reads what the user and the runtime wrote: the plugin's
// configuration and the result of the plugins before it. Everything is checked
// here, before anything on the host is touched, because much of it ends up in
// the input of a parser: iptables would take a chain name with a newline in it
// for a rule.
package netconf

import (
	"encoding/json"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// What a conflist that names only the plugin's type gets.
const (
	DefaultAdminChain    = "CNI-ADMIN"
	DefaultFirewalldZone = "trusted"
	DefaultDataDir       = "/run/cni/firewall"
)

// The types of plugin that a conflist can name.
const (
	PluginFirewall  = "firewall"
	PluginIsolation = "isolation" // as the standalone plugin that upstream's firewall took in
)

// isolationSuffix tells the attachments of PluginIsolation from those of the
// firewall ahead of it in the same conflist. No network's name has a slash in it.
const isolationSuffix = "/" + PluginIsolation

// Config is a configuration whose every value is valid.
type Config struct {
	Plugin         string         // PluginFirewall, or PluginIsolation: isolate, and forward nothing
	Name           string         // of the network; of PluginIsolation another one, of which no network can be
	Backend        policy.Backend // one of policy.Backends, or empty: choose
	IngressPolicy  policy.IngressPolicy
	PublishedPorts policy.PublishedPorts
	AdminChain     string
	FirewalldZone  string
	DataDir        string  // absolute
	PrevResult     *Result // nil where the runtime sent none

	// Valid lists the attachments that a GC must keep; nil where the runtime
	// did not say, which is not the same as none.
	Valid []GCAttachment
}

// GCAttachment names an attachment of the network.
type GCAttachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// written is the configuration as it stands in the conflist.
type written struct {
	Type                   string          `json:"type"`
	Name                   string          `json:"name"`
	Backend                string          `json:"backend"`
	IngressPolicy          string          `json:"ingressPolicy"`
	PublishedPorts         string          `json:"publishedPorts"`
	IptablesAdminChainName string          `json:"iptablesAdminChainName"`
	FirewalldZone          string          `json:"firewalldZone"`
	DataDir                string          `json:"dataDir"`
	PrevResult             json.RawMessage `json:"prevResult"`
	Valid                  json.RawMessage `json:"cni.dev/valid-attachments"`
}

// Parse reads the standard input of a CNI call. An error is a *types.Error:
// code 6 where the input is no such JSON, and then there is no Config; code 7
// where a value is not valid, and then the Config has the default in its place
// (nothing, for an address or an interface), which is what a DEL goes on with.
func Parse(stdin []byte) (*Config, error) {
	var w written
	if err := json.Unmarshal(stdin, &w); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "reading the network configuration: "+err.Error(), "")
	}
	var bad problems
	plugin, unset, accepted := PluginFirewall, policy.Open, policy.IngressPolicies
	if w.Type == PluginIsolation {
		plugin, unset, accepted = PluginIsolation, policy.SameBridge, []policy.IngressPolicy{policy.SameBridge, policy.Isolated}
		w.Name += isolationSuffix
	}
	c := &Config{
		Plugin:         plugin,
		Name:           w.Name,
		Backend:        choice(&bad, "backend", w.Backend, "", policy.Backends),
		IngressPolicy:  choice(&bad, "ingressPolicy", w.IngressPolicy, unset, accepted),
		PublishedPorts: choice(&bad, "publishedPorts", w.PublishedPorts, policy.Allow, policy.PublishedPortsValues),
		AdminChain:     checked(&bad, "iptablesAdminChainName", w.IptablesAdminChainName, DefaultAdminChain, policy.CheckChain),
		FirewalldZone:  checked(&bad, "firewalldZone", w.FirewalldZone, DefaultFirewalldZone, policy.CheckZone),
		DataDir:        filepath.Clean(checked(&bad, "dataDir", w.DataDir, DefaultDataDir, checkDataDir)),
	}
	c.PrevResult = parseResult(&bad, w.PrevResult)
	c.Valid = parseValid(&bad, w.Valid)
	return c, bad.err()
}

// parseValid tells an absent list from an empty or null one.
func parseValid(bad *problems, raw json.RawMessage) []GCAttachment {
	if raw == nil {
		return nil
	}
	valid := []GCAttachment{}
	if err := json.Unmarshal(raw, &valid); err != nil {
		bad.add("reading cni.dev/valid-attachments: %w", err)
		return nil
	}
	if valid == nil { // null
		valid = []GCAttachment{}
	}
	for n, v := range valid {
		if v.ContainerID == "" || v.IfName == "" {
			bad.add("cni.dev/valid-attachments[%d] has no containerID or no ifname", n)
			return nil
		}
	}
	return valid
}
