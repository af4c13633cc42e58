// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// formatVersion is the version of the records that are written. Records of older
// versions are read; the first version is 1.
const formatVersion = 2

// formatName is the version in the name of a file.
var formatName = strconv.Itoa(formatVersion)

// ErrNewer says that a newer version of the plugin wrote a record.
var ErrNewer = errors.New("it was written by a newer version of the plugin")

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
	Interfaces     []string `json:"interfaces,omitempty"`
	BridgeIndex    int      `json:"bridgeIndex,omitempty"`
	PortIndex      int      `json:"portIndex,omitempty"`
	Addresses      []string `json:"addresses,omitempty"`
	IsolatedIn     string   `json:"isolatedIn,omitempty"`
	IngressPolicy  string   `json:"ingressPolicy"`
	Stated         []string `json:"stated,omitempty"`
	PublishedPorts string   `json:"publishedPorts"`
	AdminChain     string   `json:"iptablesAdminChainName"`
	Zone           string   `json:"firewalldZone"`

	Sources policy.Sources `json:"sources,omitempty"`
}

// encode returns the content of an attachment's record.
func encode(a policy.Attachment) ([]byte, error) {
	r := record{
		Version: formatVersion,
		Network: a.Network, ContainerID: a.ContainerID, IfName: a.IfName,
		Backend: string(a.Backend), Bridge: a.Bridge, Unseen: a.Unseen, Port: a.Port,
		Interfaces: a.Interfaces, BridgeIndex: a.BridgeIndex, PortIndex: a.PortIndex,
		IngressPolicy: string(a.IngressPolicy), PublishedPorts: string(a.PublishedPorts),
		AdminChain: a.AdminChain, Zone: a.Zone, IsolatedIn: a.IsolatedIn.String(),
		Sources: a.Sources,
	}
	for _, p := range a.Stated {
		r.Stated = append(r.Stated, string(p))
	}
	for _, p := range a.Addresses {
		r.Addresses = append(r.Addresses, p.Addr().String())
	}
	return json.Marshal(r)
}

// decode parses a record. It checks the values as strictly as the configuration
// is checked, because they end up in the same rules.
func decode(content []byte) (policy.Attachment, error) {
	var r record
	if err := json.Unmarshal(content, &r); err != nil {
		return policy.Attachment{}, err
	}
	if r.Version < 1 {
		return policy.Attachment{}, fmt.Errorf("version %d is unknown", r.Version)
	}
	if r.Version > formatVersion {
		return policy.Attachment{}, ErrNewer
	}
	a, err := r.attachment()
	if err != nil {
		return policy.Attachment{}, err
	}
	return a, validate(a)
}

func (r record) attachment() (policy.Attachment, error) {
	a := policy.Attachment{
		Network: r.Network, ContainerID: r.ContainerID, IfName: r.IfName,
		Backend: policy.Backend(r.Backend), Bridge: r.Bridge, Unseen: r.Unseen, Port: r.Port,
		Interfaces: r.Interfaces, BridgeIndex: r.BridgeIndex, PortIndex: r.PortIndex,
		IngressPolicy: policy.IngressPolicy(r.IngressPolicy), PublishedPorts: policy.PublishedPorts(r.PublishedPorts),
		AdminChain: r.AdminChain, Zone: r.Zone, Sources: r.Sources,
	}
	var known bool
	if a.IsolatedIn, known = isolatedIn[r.IsolatedIn]; !known {
		return a, fmt.Errorf("isolatedIn %q is unknown", r.IsolatedIn)
	}
	for _, p := range r.Stated {
		a.Stated = append(a.Stated, policy.IngressPolicy(p))
	}
	for _, text := range r.Addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.Is4In6() {
			return a, fmt.Errorf("address %q is not valid", text)
		}
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return a, nil
}

func validate(a policy.Attachment) error {
	switch {
	case a.Network == "" || a.ContainerID == "" || a.IfName == "":
		return errors.New("network, containerID or ifName is missing")
	case a.BridgeIndex < 0 || a.PortIndex < 0:
		return errors.New("an interface index is negative")
	}
	if err := checkPolicies(a); err != nil {
		return err
	}
	return a.CheckNames()
}

// Read returns a whole record. An error is a *FileError.
func (s *Store) Read(e Entry) (policy.Attachment, error) {
	content, err := s.content(e.file)
	if err != nil {
		return policy.Attachment{}, s.fileError(e.file, err)
	}
	a, err := decode(content)
	if err == nil && !e.isOf(a) {
		err = errors.New("its content does not match its name")
	}
	if err != nil {
		return policy.Attachment{}, s.fileError(e.file, err)
	}
	return a, nil
}

// Put writes the record of an attachment and removes its previous records. It
// does not write a record that exists with the same content.
func (s *Store) Put(a policy.Attachment, previous []Entry) error {
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
	for _, p := range previous {
		if p.file != e.file {
			if err := s.Remove(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove deletes a record. One that does not exist is no error.
func (s *Store) Remove(e Entry) error { return s.remove(e.file) }
