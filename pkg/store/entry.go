// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Entry is what the name of a record says. A call needs no more about other
// attachments: which interfaces to isolate, how, which addresses are in use, and on
// isolated bridges by which port. So it reads the directory, and of the files only its
// own.
//
//	2,KEY,NETWORK,iptables,cni0,7,,,same-bridge,allow,0a040002+fd00….json
//
// After the bridge come its index, the network's other interfaces, and the port with the
// container's key.
type Entry struct {
	Key        string // see Key
	NetworkKey string // see NetworkKey

	// Attachment has no Network, ContainerID, IfName, PortIndex, AdminChain and Zone,
	// and a Port and a ContainerKey only if its policy separates containers.
	Attachment policy.Attachment

	file string
}

const (
	recordSuffix = ".json"
	fieldCount   = 11

	// firstFieldCount is of version 1, which had neither indices nor Interfaces, Port
	// and Stated.
	firstFieldCount = 8

	// elsewhere replaces what does not fit into the name: addresses, interfaces and the
	// port. They are in the file.
	elsewhere = "elsewhere"
	maxName   = 255 // bytes (NAME_MAX)
)

// isolatedIn has what replaces the addresses where nothing is forwarded: the one
// family to isolate in, or nothing for both.
var isolatedIn = map[string]policy.Families{
	"":     0,
	"IPv4": policy.Families(policy.IPv4),
	"IPv6": policy.Families(policy.IPv6),
}

// NewEntry returns the entry of an attachment's record.
func NewEntry(a policy.Attachment) Entry {
	e := Entry{Key: Key(a.Network, a.ContainerID, a.IfName), NetworkKey: NetworkKey(a.Network), Attachment: brief(a)}
	b := e.Attachment
	addresses := cmp.Or(a.IsolatedIn.String(), addressField(a.Addresses))
	e.file = e.name(listField(b.Interfaces), portField(b), addresses)
	if len(e.file) > maxName {
		e.file = e.name("", "", elsewhere)
	}
	return e
}

func (e Entry) name(interfaces, port, addresses string) string {
	b := &e.Attachment
	policies := []string{string(b.IngressPolicy)}
	for _, p := range b.Stated {
		policies = append(policies, string(p))
	}
	return strings.Join([]string{
		formatName, e.Key, e.NetworkKey, string(b.Backend), url.QueryEscape(b.Bridge), strconv.Itoa(b.BridgeIndex),
		interfaces, port, strings.Join(policies, "+"), string(b.PublishedPorts), addresses,
	}, ",") + recordSuffix
}

// File returns the record's name.
func (e Entry) File() string { return e.file }

// isOf reports whether an attachment is what the name says.
func (e Entry) isOf(a policy.Attachment) bool {
	return e.file == NewEntry(a).file || e.file == firstName(a)
}

// lacksPort reports whether the name is of version 1, and should say the port.
func (e Entry) lacksPort() bool {
	return !strings.HasPrefix(e.file, formatName+",") && e.Attachment.IngressPolicy.Separates()
}

// firstName returns the name that version 1 gave to an attachment's record.
func firstName(a policy.Attachment) string {
	const maxAddresses = 90 // bytes
	addresses := addressField(a.Addresses)
	if len(addresses) > maxAddresses {
		addresses = elsewhere
	}
	return strings.Join([]string{
		"1", Key(a.Network, a.ContainerID, a.IfName), NetworkKey(a.Network), string(a.Backend), url.QueryEscape(a.Bridge),
		string(a.IngressPolicy), string(a.PublishedPorts), cmp.Or(a.IsolatedIn.String(), addresses),
	}, ",") + recordSuffix
}

// brief returns the part of an attachment that is in the record's name.
func brief(a policy.Attachment) policy.Attachment {
	b := policy.Attachment{
		Backend: a.Backend, Bridge: a.Bridge, BridgeIndex: a.BridgeIndex, Interfaces: a.Interfaces,
		Addresses: a.Addresses, IsolatedIn: a.IsolatedIn,
		IngressPolicy: a.IngressPolicy, Stated: a.Stated, PublishedPorts: a.PublishedPorts,
	}
	if a.IngressPolicy.Separates() {
		b.Port = a.Port
		b.ContainerKey = cmp.Or(a.ContainerKey, policy.ContainerKey(a.ContainerID))
	}
	return b
}

// errForeign says that a file is no record.
var errForeign = errors.New("it is not a record of this plugin")

// parse parses a record's name. It returns false for a name that lacks what did not
// fit: that is in the file.
func (e *Entry) parse(file string) (whole bool, err error) {
	name, isRecord := strings.CutSuffix(file, recordSuffix)
	f, n := split(name)
	version, err := strconv.Atoi(f[0])
	if isRecord && err == nil && version > formatVersion {
		return false, ErrNewer
	}
	if isRecord && f[0] == "1" && n == firstFieldCount {
		f = [fieldCount]string{f[0], f[1], f[2], f[3], f[4], "0", "", "", f[5], f[6], f[7]}
	} else if !isRecord || f[0] != formatName || n != fieldCount {
		return false, errForeign
	}
	if !isHex(f[1], 32) || !isHex(f[2], 16) {
		return false, errForeign
	}
	*e = Entry{Key: f[1], NetworkKey: f[2], file: file, Attachment: policy.Attachment{
		Backend: policy.Backend(f[3]), PublishedPorts: policy.PublishedPorts(f[9]),
	}}
	if !e.setInterfaces(f[4], f[5], f[6], f[7]) || !e.setPolicies(f[8]) {
		return false, errForeign
	}
	if f[10] == elsewhere {
		return false, nil
	}
	return true, e.setAddresses(f[10])
}

// setInterfaces sets what stands on the host: the bridge, its index, the network's
// other interfaces and the port.
func (e *Entry) setInterfaces(bridge, index, interfaces, port string) bool {
	a := &e.Attachment
	var known [2]bool
	a.Bridge, known[0] = parseName(bridge)
	a.Port, a.ContainerKey, known[1] = parsePort(port)
	number, err := strconv.Atoi(index)
	a.BridgeIndex = number
	if !known[0] || !known[1] || err != nil || number < 0 {
		return false
	}
	if interfaces == "" {
		return true
	}
	for word := range strings.SplitSeq(interfaces, "+") {
		name, known := parseName(word)
		if !known || name == "" {
			return false
		}
		a.Interfaces = append(a.Interfaces, name)
	}
	return true
}

// setPolicies sets the policy, and those that the entries of the conflist state.
func (e *Entry) setPolicies(field string) bool {
	first, rest, several := strings.Cut(field, "+")
	e.Attachment.IngressPolicy = policy.IngressPolicy(first)
	if several {
		for word := range strings.SplitSeq(rest, "+") {
			e.Attachment.Stated = append(e.Attachment.Stated, policy.IngressPolicy(word))
		}
	}
	return checkPolicies(e.Attachment) == nil
}

// checkPolicies returns an error that names the first value which is none, or the
// policies that do not add up.
func checkPolicies(a policy.Attachment) error {
	least, sum := 0, policy.Open
	for _, p := range a.Stated {
		n := slices.Index(policy.IngressPolicies[least:], p)
		if n < 0 {
			return fmt.Errorf("stated %q are no policies, each once and in order", a.Stated)
		}
		least, sum = least+n+1, sum.With(p)
	}
	switch {
	case !slices.Contains(policy.IngressPolicies, a.IngressPolicy):
		return fmt.Errorf("ingressPolicy %q is unknown", a.IngressPolicy)
	case !slices.Contains(policy.PublishedPortsValues, a.PublishedPorts):
		return fmt.Errorf("publishedPorts %q is unknown", a.PublishedPorts)
	case len(a.Stated) > 0 && sum != a.IngressPolicy:
		return fmt.Errorf("ingressPolicy %q is not what the stated %q add up to", a.IngressPolicy, a.Stated)
	}
	return nil
}

func (e *Entry) setAddresses(field string) (err error) {
	if families, none := isolatedIn[field]; none {
		e.Attachment.IsolatedIn = families
		return nil
	}
	e.Attachment.Addresses, err = parseAddresses(field)
	return err
}
