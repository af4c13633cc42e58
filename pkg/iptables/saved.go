// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Saved are all tables of one program of iptables, as its save program prints them. That
// makes no table, as listing one may do.
type Saved struct {
	family  policy.Family
	program string // that changes them
	tables  map[string]*savedTable
}

// savedTable is one table.
type savedTable struct {
	policies map[string]string // of base chains
	rules    map[string][]rule
}

func newSavedTable() *savedTable {
	return &savedTable{policies: map[string]string{}, rules: map[string][]rule{}}
}

// add adds a rule, of which "-A " was cut off.
func (t *savedTable) add(text string) {
	chain, text, _ := strings.Cut(text, " ")
	t.rules[chain] = append(t.rules[chain], rule(text))
}

var _ policy.Tables = (*Saved)(nil)

// ReadSaved reads the tables of both variants and both families, as far as their programs
// are there. After an error it returns those that could be read.
func ReadSaved() ([]*Saved, error) {
	var all []*Saved
	var errs []error
	for _, f := range policy.BothFamilies.List() {
		name := programNames[f].list
		for _, p := range savePrograms(name) {
			s, err := readSaved(f, p)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			s.program = name
			if isVariant(p, "legacy") {
				s.program += "-legacy"
			}
			all = append(all, s)
		}
	}
	return all, errors.Join(errs...)
}

// savePrograms returns the paths of the save programs of a family, one for each variant
// that is there.
func savePrograms(name string) []string {
	var found []string
	for _, n := range []string{name + "-nft-save", name + "-legacy-save", name + "-save"} {
		path, err := look(n)
		if err != nil {
			continue
		}
		isKnown := func(other string) bool { return variant(other) == variant(path) }
		if n != name+"-save" || !slices.ContainsFunc(found, isKnown) {
			found = append(found, path)
		}
	}
	return found
}

func readSaved(f policy.Family, program string) (*Saved, error) {
	if isVariant(program, "legacy") && hidesNames(f) {
		return readListed(f)
	}
	output, err := run("", program)
	if err != nil {
		return nil, err
	}
	s, err := parseSaved(f, output)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return s, nil
}

func parseSaved(f policy.Family, output string) (*Saved, error) {
	s := &Saved{family: f, tables: map[string]*savedTable{}}
	var t *savedTable
	for line, whole := range statements(output) {
		switch {
		case !whole:
			return nil, fmt.Errorf("unclosed quote: %.200q", line)
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			t = newSavedTable()
			s.tables[line[1:]] = t
		case t != nil && line[0] == ':':
			fields := strings.Fields(line[1:])
			if len(fields) > 1 && fields[1] != "-" {
				t.policies[fields[0]] = fields[1]
			}
		case t != nil && strings.HasPrefix(line, "-A "):
			t.add(line[3:])
		default:
			return nil, fmt.Errorf("unknown line: %.200q", line)
		}
	}
	return s, nil
}

// namesOfTables are the files in which the kernel names the tables of iptables-legacy.
var namesOfTables = map[policy.Family]string{
	policy.IPv4: "/proc/net/ip_tables_names", policy.IPv6: "/proc/net/ip6_tables_names",
}

// hidesNames reports whether the caller may not read these names, without which the save
// program fails. They are the root's of the user namespace; where that had no users yet
// when the network namespace was made, they are nobody's (xt_proto_init).
func hidesNames(f policy.Family) bool {
	file, err := os.Open(namesOfTables[f])
	if err == nil {
		_ = file.Close()
	}
	return errors.Is(err, fs.ErrPermission)
}

// readListed reads the tables that the plugin and portmap write to, if they write to those
// of iptables-legacy: to list another one would make it.
func readListed(f policy.Family) (*Saved, error) {
	s := &Saved{family: f, tables: map[string]*savedTable{}}
	p, err := findPrograms(f)
	if err != nil || !isVariant(p.list, "legacy") {
		return s, err
	}
	for _, name := range []string{"filter", "nat"} {
		output, err := run("", p.list, "--wait", lockTimeout, "-t", name, "-S")
		if err != nil {
			return nil, err
		}
		if s.tables[name], err = parseListed(output); err != nil {
			return nil, fmt.Errorf("%s: table %s: %w", filepath.Base(p.list), name, err)
		}
	}
	return s, nil
}

// parseListed parses what a program lists of one table.
func parseListed(output string) (*savedTable, error) {
	t := newSavedTable()
	for line, whole := range statements(output) {
		kind, rest, _ := strings.Cut(line, " ")
		switch {
		case !whole:
			return nil, fmt.Errorf("unclosed quote: %.200q", line)
		case line == "" || kind == "-N":
		case kind == "-P":
			chain, target, _ := strings.Cut(rest, " ")
			t.policies[chain] = target
		case kind == "-A":
			t.add(rest)
		default:
			return nil, fmt.Errorf("unknown line: %.200q", line)
		}
	}
	return t, nil
}

// Shows reports whether a table of nf_tables is one that these programs show.
func (s *Saved) Shows(family, table string) bool {
	return !s.isLegacy() && s.tables[table] != nil && family == familyNames[s.family]
}

func (s *Saved) isLegacy() bool { return strings.HasSuffix(s.program, "-legacy") }

var familyNames = map[policy.Family]string{policy.IPv4: "ip", policy.IPv6: "ip6"}

// basePriorities are the tables with a base chain on a hook, and the priorities of these
// (linux/netfilter_ipv4.h).
var basePriorities = map[policy.Hook]map[string]int{
	policy.HookPrerouting: {"raw": -300, "mangle": -150, "nat": -100},
	policy.HookInput:      {"mangle": -150, "filter": 0, "security": 50},
	policy.HookForward:    {"mangle": -150, "filter": 0, "security": 50},
	policy.HookOutput:     {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50},
}

// Decide returns what the tables do with a packet. Only the first packet of a connection
// passes the table nat.
func (s *Saved) Decide(p policy.Packet) []policy.Decision {
	if p.Family() != s.family {
		return nil
	}
	var all []policy.Decision
	for name, priority := range basePriorities[p.Hook] {
		t := s.tables[name]
		base := strings.ToUpper(string(p.Hook))
		if t == nil || t.policies[base] == "" || name == "nat" && p.IsReply {
			continue
		}
		w := walk{t: t, packet: p}
		for _, d := range w.base(base) {
			d.Program, d.Family, d.Table, d.Base, d.Priority = s.program, familyNames[s.family], name, base, priority
			d.IsOwn = name == "filter" && d.Rule != "" && slices.Contains(policy.PluginChains, d.Chain)
			all = append(all, d)
		}
	}
	return all
}
