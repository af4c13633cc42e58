// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Table returns the plugin's nftables tables, without counters, or nothing if
// there is none. Each rule, each element of a set and whatever else stands in a
// line of its own, behind the name of its chain or set, in whose order, and not
// that of their making, the lines are. An address has the length of its prefix,
// as iptables writes it. A bridge comes without its comment: it names the network,
// which whoever isolates all bridges again may not know. What the kernel counts in sets is
// left out: it changes with each packet that is dropped.
func (h *Host) Table() (string, error) {
	tables := map[string]bool{}
	for family, number := range map[string]uint8{"inet": unix.NFPROTO_INET, "bridge": unix.NFPROTO_BRIDGE} {
		has, err := hasTable(number, "cni_firewall")
		if err != nil {
			return "", err
		}
		tables[family] = has
	}
	if !tables["inet"] && !tables["bridge"] {
		return "", nil
	}
	held := func() ([]byte, error) {
		generation, err := h.Generation()
		return binary.NativeEndian.AppendUint32(nil, generation), err
	}
	return h.listed("cni_firewall", held, func() (string, error) {
		var text string
		for _, family := range []string{"inet", "bridge"} {
			if !tables[family] {
				continue
			}
			listing, err := h.Run("nft", "-s", "list", "table", family, "cni_firewall")
			if err != nil {
				return "", err
			}
			text += lines(listing)
		}
		return text, nil
	})
}

// TableIn does so with words in front of the command, such as "ip netns exec".
func (h *Host) TableIn(prefix ...string) (string, error) {
	list := func(words ...string) (string, error) {
		words = append(append(slices.Clone(prefix), "nft", "-s", "list"), words...)
		return h.Run(words[0], words[1:]...)
	}
	if len(prefix) > 0 {
		tables, err := list("tables")
		if err != nil || !slices.Contains(strings.Split(tables, "\n"), "table inet cni_firewall") {
			return "", err
		}
	}
	listing, err := list("table", "inet", "cni_firewall")
	return lines(listing), err
}

// Ruleset returns all of nftables, which is all of iptables-nft too: the lines of
// each table, without counters, and those of a chain together. Tables to leave out
// are written as in "ip nat".
func (h *Host) Ruleset(except ...string) (string, error) {
	listing, err := h.Run("nft", "list", "tables")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, table := range slices.Sorted(strings.Lines(listing)) {
		if slices.Contains(except, strings.TrimSpace(strings.TrimPrefix(table, "table "))) {
			continue
		}
		listing, err := h.Run("nft", append([]string{"-s", "list"}, strings.Fields(table)...)...)
		if err != nil {
			return "", err
		}
		text.WriteString(table + lines(listing))
	}
	return text.String(), nil
}

// lines takes a listing apart.
func lines(listing string) string {
	var all []string
	for _, b := range blocks(listing) {
		all = append(all, b...)
	}
	return strings.Join(all, "\n") + "\n"
}

// sizeNow is how many elements a set has. Newer versions of nft tell that (1.1.7 does).
var sizeNow = regexp.MustCompile(`\s*# count \d+$`)

// blocks returns the lines of the table itself, of each chain and of each set.
func blocks(listing string) [][]string {
	found := map[string][]string{}
	var elements []string
	var block string
	inElements := false
	add := func(lines ...string) { found[block] = append(found[block], lines...) }
	for line := range strings.Lines(listing) {
		line = sizeNow.ReplaceAllString(strings.TrimSpace(line), "")
		rest, begins := strings.CutPrefix(line, "elements = {")
		switch {
		case begins || inElements:
			inElements = !strings.HasSuffix(rest, " }")
			elements = append(elements, split(strings.TrimSuffix(rest, " }"))...)
			if !inElements {
				slices.Sort(elements)
				if isCount(block) {
					elements = nil
				}
				add(prefixed(block+": element ", elements)...)
				elements = nil
			}
		case strings.HasSuffix(line, " {"):
			block = strings.TrimSuffix(line, " {")
			add(block)
		case line != "" && line != "}":
			add(block + ": " + line)
		}
	}
	var all [][]string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if name == "chain forged_source" { // whose rules have no order
			slices.Sort(found[name][1:])
		}
		all = append(all, found[name])
	}
	return all
}

// isCount reports whether the kernel makes the elements of a set, for packets that are
// dropped.
func isCount(block string) bool {
	return slices.Contains([]string{"set dropped", "set dropped_forged", "set frames_dropped", "set frames_forged"}, block)
}

func prefixed(prefix string, words []string) []string {
	var all []string
	for _, w := range words {
		all = append(all, prefix+w)
	}
	return all
}

// split returns what stands between commas that are not quoted.
func split(text string) []string {
	var all []string
	quoted := false
	for _, field := range strings.FieldsFunc(text, func(c rune) bool {
		quoted = quoted != (c == '"')
		return c == ',' && !quoted
	}) {
		if field = strings.TrimSpace(field); field != "" {
			all = append(all, withLength(field))
		}
	}
	return all
}

var bridgeComment = regexp.MustCompile(` comment "[^"]*"$`)

func withLength(element string) string {
	if name, address, pair := strings.Cut(element, `" . `); pair && !strings.HasPrefix(address, `"`) {
		return name + `" . ` + withLength(address)
	}
	value, rest, _ := strings.Cut(element, " ")
	address, err := netip.ParseAddr(value)
	if err != nil {
		return bridgeComment.ReplaceAllString(element, "")
	}
	return strings.TrimSuffix(value+"/"+strconv.Itoa(address.BitLen())+" "+rest, " ")
}
