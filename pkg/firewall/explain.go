// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// An operator asks whether a connection gets through, and why not. What becomes of it, the
// rules of the kernel say, of whatever program: its first packet and the answer are taken
// through copies of them. What should become of it, the records and package policy say.
// Nothing is sent, and nothing is written.

// Sight is what an Explainer sees of the host, beside the drivers and the links.
type Sight interface {
	// Tables reads the rules of all programs.
	Tables() (policy.Tables, error)

	// Text returns a rule as nft prints it, or its number where nft is not there.
	Text(policy.Decision) string

	// Addresses returns the addresses of the host.
	Addresses() ([]netip.Addr, error)

	// WayTo returns where the host sends what is for an address.
	WayTo(netip.Addr) (link.Way, error)

	// ForwardingSysctl returns the name of the sysctl by which the host forwards what comes in
	// by an interface, and whether it is on.
	ForwardingSysctl(f policy.Family, in string) (name string, on bool, err error)
}

// Explainer answers questions about connections, of what the host was like when it was
// made.
type Explainer struct {
	fw       *Engine
	records  records
	all      []policy.Attachment
	bridges  []policy.Bridge
	tables   policy.Tables
	links    []link.Link
	filtered policy.Families
	own      []netip.Addr // addresses of the host
	unread   error        // rules that could not be read
	texts    map[policy.Decision]string
}

// Answer is what becomes of a connection, in each family in which there could be one.
type Answer struct{ Paths []Path }

// Verdict is what becomes of a connection.
type Verdict string

// The verdicts.
const (
	Open    Verdict = "open"
	Blocked Verdict = "blocked"
	Unclear Verdict = "unclear" // it depends on more than the question says
)

// Path is what becomes of a connection in one family.
type Path struct {
	Family    policy.Family
	From, To  Place
	Protocol  string         // "tcp" or "udp"; empty for any
	Published netip.AddrPort // of the host, which redirects it; the zero value for none

	Verdict   Verdict
	Wanted    Verdict           // what the policies ask for
	Decisions []policy.Decision // the rules that stop it, or else those that accept it
	Reasons   []diagnosis.Problem
}

// Explainer reads what it needs for answers. Where some rules cannot be read, nothing is
// open for certain.
func (fw *Engine) Explainer() (*Explainer, error) {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return nil, err
	}
	r, err := fw.storage.list(s).followed()
	if err != nil {
		return nil, err
	}
	x := &Explainer{fw: fw, records: r, texts: map[policy.Decision]string{}}
	for _, e := range r.Entries {
		a, err := r.store.Read(e)
		if fw.warn(err); err != nil {
			continue
		}
		a.Bridge, a.BridgeIndex = e.Attachment.Bridge, e.Attachment.BridgeIndex // it may have been renamed
		x.all = append(x.all, a)
	}
	slices.SortFunc(x.all, func(a, b policy.Attachment) int { return slices.Compare(namesOf(a), namesOf(b)) })
	x.bridges = policy.Desired(slices.Concat(r.briefs(), x.all)...).Bridges
	return x, x.look()
}

// look reads what the host is like.
func (x *Explainer) look() (err error) {
	if x.links, err = x.fw.ports.links.All(); err != nil {
		return err
	}
	if x.filtered, err = x.fw.ports.links.Filtered(); err != nil {
		return err
	}
	if x.own, err = x.fw.sight.Addresses(); err != nil {
		return err
	}
	x.tables, x.unread = x.fw.sight.Tables()
	return nil
}

// Explain returns what becomes of a connection. From and to are a container's ID, or the
// beginning of one, a network, an address, "host" or "outside"; to may end in a port, and
// its protocol: ":80", ":53/udp".
func (x *Explainer) Explain(from, to string) (Answer, error) {
	name, port, protocol, err := splitPort(to)
	if err != nil {
		return Answer{}, err
	}
	sources, err := x.find(from)
	if err != nil {
		return Answer{}, err
	}
	targets, err := x.find(name)
	if err != nil {
		return Answer{}, err
	}
	var answer Answer
	for _, f := range policy.BothFamilies.List() {
		p := Path{Family: f, Protocol: protocol}
		if x.choose(&p, sources, targets) {
			p.To.Port = port
			if err := x.follow(&p); err != nil {
				return Answer{}, err
			}
			answer.Paths = append(answer.Paths, p)
		}
	}
	if len(answer.Paths) == 0 {
		return Answer{}, fmt.Errorf("%s and %s have no address family in common", from, name)
	}
	return answer, nil
}

// errPort says that what stands behind the last colon is no port.
var errPort = errors.New(`is no port: it must be a number from 1 to 65535, with "/tcp" or "/udp" behind it or nothing`)

// splitPort splits a port off. Without one, any protocol is meant.
func splitPort(to string) (name string, port uint16, protocol string, err error) {
	if _, err := netip.ParseAddr(to); err == nil {
		return to, 0, "", nil // an IPv6 address has colons, too
	}
	at := strings.LastIndexByte(to, ':')
	if at < 0 || strings.HasSuffix(to, "]") {
		return strings.Trim(to, "[]"), 0, "", nil
	}
	text, protocol, named := strings.Cut(to[at+1:], "/")
	if !named {
		protocol = "tcp"
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 || protocol != "tcp" && protocol != "udp" {
		return "", 0, "", fmt.Errorf("%q %w", to[at+1:], errPort)
	}
	return strings.Trim(to[:at], "[]"), uint16(number), protocol, nil
}
