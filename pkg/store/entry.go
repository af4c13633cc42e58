// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Entry is what the name of a record says. A call needs no more about other
// attachments: which bridges to isolate, how, and which addresses are in use. So
// it reads the directory, and of the files only its own.
//
//	1,KEY,NETWORK,iptables,cni0,same-bridge,allow,0a040002+fd00….json
type Entry struct {
	Key        string            // see Key
	NetworkKey string            // see NetworkKey
	Attachment policy.Attachment // without Network, ContainerID, IfName, Port, AdminChain and Zone

	file string
}

const (
	recordSuffix = ".json"
	fieldCount   = 8

	// elsewhere replaces addresses that do not fit into the name; they are in the
	// file. NAME_MAX is 255 bytes, and the other fields need at most 131.
	elsewhere       = "elsewhere"
	maxAddressField = 90 // bytes: two addresses of each family
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
	e.file = strings.Join([]string{
		formatName, e.Key, e.NetworkKey, string(a.Backend), url.QueryEscape(a.Bridge),
		string(a.IngressPolicy), string(a.PublishedPorts), cmp.Or(a.IsolatedIn.String(), addressField(a.Addresses)),
	}, ",") + recordSuffix
	return e
}

// File returns the record's name.
func (e Entry) File() string { return e.file }

// brief returns the part of an attachment that is in the record's name.
func brief(a policy.Attachment) policy.Attachment {
	return policy.Attachment{
		Backend: a.Backend, Bridge: a.Bridge, Addresses: a.Addresses, IsolatedIn: a.IsolatedIn,
		IngressPolicy: a.IngressPolicy, PublishedPorts: a.PublishedPorts,
	}
}

func addressField(addresses []netip.Prefix) string {
	words := make([]string, len(addresses))
	for i, p := range addresses {
		words[i] = hex.EncodeToString(p.Addr().AsSlice())
	}
	if field := strings.Join(words, "+"); len(field) <= maxAddressField {
		return field
	}
	return elsewhere
}

// errForeign says that a file is no record.
var errForeign = errors.New("it is not a record of this plugin")

// parse parses a record's name. It returns false for a name without its
// addresses: they are in the file.
func (e *Entry) parse(file string) (whole bool, err error) {
	name, isRecord := strings.CutSuffix(file, recordSuffix)
	f, n := split(name)
	if version, err := strconv.Atoi(f[0]); isRecord && err == nil && version > formatVersion {
		return false, ErrNewer
	}
	if !isRecord || n != fieldCount || f[0] != formatName || !isHex(f[1], 32) || !isHex(f[2], 16) {
		return false, errForeign
	}
	*e = Entry{Key: f[1], NetworkKey: f[2], file: file, Attachment: policy.Attachment{
		Backend:       policy.Backend(f[3]),
		IngressPolicy: policy.IngressPolicy(f[5]), PublishedPorts: policy.PublishedPorts(f[6]),
	}}
	if !e.setBridge(f[4]) || !e.hasKnownPolicy() {
		return false, errForeign
	}
	if f[7] == elsewhere {
		return false, nil
	}
	return true, e.setAddresses(f[7])
}

func (e *Entry) setBridge(field string) bool {
	bridge, err := url.QueryUnescape(field)
	e.Attachment.Bridge = bridge
	return err == nil && (bridge == "" || policy.CheckInterface(bridge) == nil)
}

func (e *Entry) hasKnownPolicy() bool {
	return slices.Contains(policy.IngressPolicies, e.Attachment.IngressPolicy) &&
		slices.Contains(policy.PublishedPortsValues, e.Attachment.PublishedPorts)
}

func (e *Entry) setAddresses(field string) (err error) {
	if families, none := isolatedIn[field]; none {
		e.Attachment.IsolatedIn = families
		return nil
	}
	e.Attachment.Addresses, err = parseAddresses(field)
	return err
}

// split splits a name at its commas, and returns the number of fields. It
// allocates nothing, because a call splits as many names as there are containers.
func split(name string) (f [fieldCount]string, n int) {
	for more := true; more; n++ {
		var field string
		field, name, more = strings.Cut(name, ",")
		if n < len(f) {
			f[n] = field
		}
	}
	return f, n
}

func parseAddresses(field string) ([]netip.Prefix, error) {
	list := make([]netip.Prefix, 0, 1+strings.Count(field, "+"))
	for word := range strings.SplitSeq(field, "+") {
		addr, ok := parseAddress(word)
		if !ok {
			return nil, errForeign
		}
		list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return list, nil
}

func parseAddress(word string) (addr netip.Addr, ok bool) {
	var b [net.IPv6len]byte
	if len(word) > 2*len(b) {
		return addr, false
	}
	n, err := hex.Decode(b[:], []byte(word))
	if err != nil {
		return addr, false
	}
	addr, ok = netip.AddrFromSlice(b[:n])
	return addr, ok && !addr.Is4In6()
}

func isHex(s string, length int) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == length
}
