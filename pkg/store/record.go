// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// formatVersion is that of the records written. Records of older versions are
// read; version 1 is the first.
const formatVersion = 1

// formatName is the version in the name of a file.
var formatName = strconv.Itoa(formatVersion)

// ErrNewer says that a record was written by a later version of the plugin.
var ErrNewer = errors.New("it is of a later version of the plugin")

// record is the content of a file: enough to undo or to replay an attachment
// without the runtime's help.
type record struct {
	Version        int      `json:"version"`
	Network        string   `json:"network"`
	ContainerID    string   `json:"containerID"`
	IfName         string   `json:"ifName"`
	Backend        string   `json:"backend"`
	Bridge         string   `json:"bridge,omitempty"`
	Unseen         bool     `json:"bridgeUnseen,omitempty"`
	Port           string   `json:"port,omitempty"`
	Addresses      []string `json:"addresses,omitempty"`
	IsolatedIn     string   `json:"isolatedIn,omitempty"`
	IngressPolicy  string   `json:"ingressPolicy"`
	PublishedPorts string   `json:"publishedPorts"`
	AdminChain     string   `json:"iptablesAdminChainName"`
	Zone           string   `json:"firewalldZone"`
}

// encode returns the content of an attachment's file.
func encode(a policy.Attachment) ([]byte, error) {
	r := record{
		Version: formatVersion,
		Network: a.Network, ContainerID: a.ContainerID, IfName: a.IfName,
		Backend: string(a.Backend), Bridge: a.Bridge, Unseen: a.Unseen, Port: a.Port,
		IngressPolicy: string(a.IngressPolicy), PublishedPorts: string(a.PublishedPorts),
		AdminChain: a.AdminChain, Zone: a.Zone, IsolatedIn: a.IsolatedIn.String(),
	}
	for _, p := range a.Addresses {
		r.Addresses = append(r.Addresses, p.Addr().String())
	}
	return json.Marshal(r)
}

// decode reads the content of a file and checks it as the configuration is
// checked, for it ends up in the same places.
func decode(content []byte) (policy.Attachment, error) {
	var r record
	if err := json.Unmarshal(content, &r); err != nil {
		return policy.Attachment{}, err
	}
	if r.Version > formatVersion {
		return policy.Attachment{}, ErrNewer
	}
	a := policy.Attachment{
		Network: r.Network, ContainerID: r.ContainerID, IfName: r.IfName,
		Backend: policy.Backend(r.Backend), Bridge: r.Bridge, Unseen: r.Unseen, Port: r.Port,
		IngressPolicy: policy.IngressPolicy(r.IngressPolicy), PublishedPorts: policy.PublishedPorts(r.PublishedPorts),
		AdminChain: r.AdminChain, Zone: r.Zone,
	}
	var known bool
	if a.IsolatedIn, known = isolatedIn[r.IsolatedIn]; !known {
		return a, fmt.Errorf("isolatedIn %q is unknown", r.IsolatedIn)
	}
	for _, text := range r.Addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.Is4In6() {
			return policy.Attachment{}, fmt.Errorf("address %q is not valid", text)
		}
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return a, validate(r.Version, a)
}

func validate(version int, a policy.Attachment) error {
	switch {
	case version < 1:
		return fmt.Errorf("version %d is unknown", version)
	case a.Network == "" || a.ContainerID == "" || a.IfName == "":
		return errors.New("network, containerID or ifName is missing")
	case !slices.Contains(policy.IngressPolicies, a.IngressPolicy):
		return fmt.Errorf("ingressPolicy %q is unknown", a.IngressPolicy)
	case !slices.Contains(policy.PublishedPortsValues, a.PublishedPorts):
		return fmt.Errorf("publishedPorts %q is unknown", a.PublishedPorts)
	}
	return a.CheckNames()
}

// Read returns the whole of a record. Its error names the file.
func (s *Store) Read(e Entry) (policy.Attachment, error) {
	content, err := s.content(e.file)
	if err != nil {
		return policy.Attachment{}, s.problem(e.file, err)
	}
	a, err := decode(content)
	if err == nil && NewEntry(a).file != e.file {
		err = errors.New("its content does not fit its name")
	}
	if err != nil {
		return policy.Attachment{}, s.problem(e.file, err)
	}
	return a, nil
}

// Put writes the record of an attachment in the place of its former entries. On
// a record that is there already nothing is written.
func (s *Store) Put(a policy.Attachment, former []Entry) error {
	content, err := encode(a)
	if err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	e := NewEntry(a)
	if old, err := s.content(e.file); err != nil || !bytes.Equal(old, content) {
		if err := s.write(e.file, content); err != nil {
			return fmt.Errorf("writing a record: %w", err)
		}
	}
	for _, f := range former {
		if f.file != e.file {
			if err := s.remove(f.file); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove deletes a record. That it is not there is no error.
func (s *Store) Remove(e Entry) error { return s.remove(e.file) }
