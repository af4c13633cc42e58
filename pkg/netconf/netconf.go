// SPDX-License-Identifier: Apache-2.0

// Package netconf reads what the user and the runtime wrote: the plugin's
// configuration and the result of the plugins before it.
//
// It checks every value before anything on the host is touched, because many end
// up in the input of a parser: iptables would take a chain name with a newline in
// it for a rule.
package netconf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Defaults of keys that the conflist does not set.
const (
	DefaultAdminChain    = "CNI-ADMIN"
	DefaultFirewalldZone = "trusted"
	DefaultDataDir       = "/run/cni/firewall"
)

// Plugin types that a conflist can name.
const (
	PluginFirewall  = "firewall"
	PluginIsolation = "isolation" // the standalone plugin, which upstream's firewall absorbed
)

// isolationSuffix keeps the attachments of PluginIsolation apart from those of a
// firewall entry in the same conflist. A network's name never has a slash.
const isolationSuffix = "/" + PluginIsolation

// Config is a configuration. All its values are valid.
type Config struct {
	Plugin         string         // PluginFirewall; or PluginIsolation, which isolates and does not forward
	Name           string         // of the network; for PluginIsolation with a suffix that no network has
	Backend        policy.Backend // one of policy.Backends; empty: the plugin chooses
	IngressPolicy  policy.IngressPolicy
	PublishedPorts policy.PublishedPorts
	AdminChain     string
	FirewalldZone  string
	DataDir        string         // absolute
	Sources        policy.Sources // of the values that the host's configuration may set
	PrevResult     *Result        // nil if the runtime sent none

	// Valid lists the attachments that GC must keep. nil means that the runtime
	// did not say; an empty list means that GC keeps none.
	Valid []GCAttachment
}

// GCAttachment names an attachment of the network.
type GCAttachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// written is the configuration as the conflist has it.
type written struct {
	CNIVersion             string          `json:"cniVersion"`
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

// Parse parses the standard input of a CNI call. What the host's configuration says of
// the network holds; its defaults are for keys that the conflist does not set. An error is
// a *types.Error.
//
// Code 6: the input is not JSON of this form. The Config is nil, unless a key alone has a
// value of another type. Code 7: values are not valid. The Config has the defaults of such
// keys, and leaves out addresses that are not valid, so that a DEL can go on.
func Parse(stdin []byte, h Host) (*Config, error) {
	w, undecoded := decode(stdin)
	if w == nil {
		return nil, undecoded
	}
	var bad problems
	c := w.config(&bad, h)
	c.PrevResult = parseResult(&bad, w.PrevResult, w.CNIVersion)
	c.Valid = parseValid(&bad, w.Valid)
	return c, cmp.Or(undecoded, bad.err())
}

// decode decodes a configuration. Where a key has a value of another type, it decodes the
// others all the same.
func decode(stdin []byte) (*written, error) {
	var w written
	err := json.Unmarshal(stdin, &w)
	if err == nil {
		return &w, nil
	}
	var mistyped *json.UnmarshalTypeError
	isKey := errors.As(err, &mistyped) && mistyped.Field != ""
	if isKey {
		err = fmt.Errorf("%s must be a %s, and is of type %s", mistyped.Field, mistyped.Type, mistyped.Value)
	}
	err = types.NewError(types.ErrDecodingFailure, "reading the network configuration: "+err.Error(), "")
	if isKey {
		return &w, err
	}
	return nil, err
}

func (w *written) config(bad *problems, h Host) *Config {
	v, sources := h.resolve(w.Name, w.settings())
	c := &Config{
		Plugin:  PluginFirewall,
		Name:    w.Name,
		Backend: choice(bad, policy.KeyBackend, v[policy.KeyBackend], "", policy.Backends, otherBackends),
		PublishedPorts: choice(bad, policy.KeyPublishedPorts, v[policy.KeyPublishedPorts],
			policy.Allow, policy.PublishedPortsValues, nil),
		AdminChain:    checked(bad, policy.KeyAdminChain, v[policy.KeyAdminChain], DefaultAdminChain, policy.CheckChain),
		FirewalldZone: DefaultFirewalldZone,
		DataDir:       filepath.Clean(checked(bad, "dataDir", w.DataDir, DefaultDataDir, checkDataDir)),
		Sources:       sources,
	}
	if c.Backend == "" || c.Backend == policy.Firewalld { // no other has zones
		c.FirewalldZone = checked(bad, policy.KeyZone, v[policy.KeyZone], DefaultFirewalldZone, policy.CheckZone)
	} else {
		delete(sources, policy.KeyZone)
	}
	if w.Type == PluginIsolation {
		w.isolation(bad, c, policy.IngressPolicy(v[policy.KeyIngressPolicy]))
		return c
	}
	c.IngressPolicy = choice(bad, policy.KeyIngressPolicy, v[policy.KeyIngressPolicy],
		policy.Open, policy.IngressPolicies, nil)
	return c
}

// isolation makes a configuration that of the standalone plugin. It isolates by its name,
// whatever the host's configuration says. Where that is stricter, the stricter holds.
func (w *written) isolation(bad *problems, c *Config, p policy.IngressPolicy) {
	c.Plugin, c.Name = PluginIsolation, w.Name+isolationSuffix
	delete(c.Sources, policy.KeyAdminChain) // it forwards nothing
	delete(c.Sources, policy.KeyZone)
	c.IngressPolicy = policy.SameBridge.With(p)
	if from := c.Sources[policy.KeyIngressPolicy]; from == FromConflist || from == Unset {
		c.IngressPolicy = choice(bad, policy.KeyIngressPolicy, string(p), policy.SameBridge,
			[]policy.IngressPolicy{policy.SameBridge, policy.Isolated}, nil)
	}
}

// settings returns what the conflist sets of what the host's configuration may set, too.
func (w *written) settings() settings {
	return settings{
		policy.KeyIngressPolicy:  w.IngressPolicy,
		policy.KeyPublishedPorts: w.PublishedPorts,
		policy.KeyBackend:        w.Backend,
		policy.KeyAdminChain:     w.IptablesAdminChainName,
		policy.KeyZone:           w.FirewalldZone,
	}
}

// parseValid returns nil for an absent list, and an empty list for an empty or a
// null one.
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
			bad.add("cni.dev/valid-attachments[%d] lacks containerID or ifname", n)
			return nil
		}
	}
	return valid
}
