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

// Entry is what the name of a record's file says. It is all that a call needs to
// know of other attachments: which bridges to isolate, how, and which addresses
// are in use. So a call reads the directory, and no file but its own.
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
	fieldsOfName = 8

	// elsewhere stands for addresses that are too many for a name: they are in
	// the file. NAME_MAX is 255 bytes; the other fields need 131 at most.
	elsewhere    = "elsewhere"
	maxAddresses = 90 // bytes of the field: two of each family
)

// isolatedIn is what stands for addresses where nothing is forwarded: nothing
// for both families.
var isolatedIn = map[string]policy.Families{
	"":     0,
	"IPv4": policy.Families(policy.IPv4),
	"IPv6": policy.Families(policy.IPv6),
}

// NewEntry returns the entry that the record of an attachment has.
func NewEntry(a policy.Attachment) Entry {
	e := Entry{Key: Key(a.Network, a.ContainerID, a.IfName), NetworkKey: NetworkKey(a.Network), Attachment: brief(a)}
	e.file = strings.Join([]string{
		strconv.Itoa(formatVersion), e.Key, e.NetworkKey, string(a.Backend), url.QueryEscape(a.Bridge),
		string(a.IngressPolicy), string(a.PublishedPorts), cmp.Or(a.IsolatedIn.String(), addressField(a.Addresses)),
	}, ",") + recordSuffix
	return e
}

// File returns the name of the record's file.
func (e Entry) File() string { return e.file }

// brief reduces an attachment to what its name says.
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
	if field := strings.Join(words, "+"); len(field) <= maxAddresses {
		return field
	}
	return elsewhere
}

// errForeign says that a file is no record.
var errForeign = errors.New("it is no record of this plugin")

// parse reads the name of a file. whole is false where the addresses are in the
// file.
func (e *Entry) parse(file string) (whole bool, err error) {
	name, isRecord := strings.CutSuffix(file, recordSuffix)
	f, n := fields(name)
	if version, err := strconv.Atoi(f[0]); isRecord && err == nil && version > formatVersion {
		return false, ErrNewer
	}
	if !isRecord || n != fieldsOfName || f[0] != formatName || !isHex(f[1], 32) || !isHex(f[2], 16) {
		return false, errForeign
	}
	bridge, err := url.QueryUnescape(f[4])
	if err != nil || bridge != "" && policy.CheckInterface(bridge) != nil {
		return false, errForeign
	}
	*e = Entry{Key: f[1], NetworkKey: f[2], file: file, Attachment: policy.Attachment{
		Backend: policy.Backend(f[3]), Bridge: bridge,
		IngressPolicy: policy.IngressPolicy(f[5]), PublishedPorts: policy.PublishedPorts(f[6]),
	}}
	if !e.hasPolicy() {
		return false, errForeign
	}
	if f[7] == elsewhere {
		return false, nil
	}
	var nothing bool
	if e.Attachment.IsolatedIn, nothing = isolatedIn[f[7]]; !nothing {
		e.Attachment.Addresses, err = parseAddresses(f[7])
	}
	return true, err
}

func (e *Entry) hasPolicy() bool {
	return slices.Contains(policy.IngressPolicies, e.Attachment.IngressPolicy) &&
		slices.Contains(policy.PublishedPortsValues, e.Attachment.PublishedPorts)
}

// fields splits a name at its commas, and returns how many fields there are.
// It makes nothing, for a call does this a thousand times where there are a
// thousand containers.
func fields(name string) (f [fieldsOfName]string, n int) {
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
	if field == "" {
		return nil, nil
	}
	list := make([]netip.Prefix, 0, 1+strings.Count(field, "+"))
	for word := range strings.SplitSeq(field, "+") {
		var b [net.IPv6len]byte
		if len(word) > 2*len(b) {
			return nil, errForeign
		}
		n, err := hex.Decode(b[:], []byte(word))
		if err != nil {
			return nil, errForeign
		}
		addr, ok := netip.AddrFromSlice(b[:n])
		if !ok || addr.Is4In6() {
			return nil, errForeign
		}
		list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return list, nil
}

func isHex(s string, length int) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == length
}
