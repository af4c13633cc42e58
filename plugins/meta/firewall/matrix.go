// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// matrixRow is a row of "cni-firewall status --matrix -o json": who can be reached from
// one place, by the policies. It is an interface.
type matrixRow struct {
	From      string   `json:"from"`
	Reaches   []string `json:"reaches"`   // at their own addresses, and by published ports
	Published []string `json:"published"` // by published ports alone
	Nothing   []string `json:"nothing"`
}

// newMatrix returns a row for each network, the host and the outside.
func newMatrix(v firewall.Survey) []matrixRow {
	rows := []matrixRow{}
	boxes := everyBox(v)
	for _, from := range boxes {
		row := matrixRow{from.Name, []string{}, []string{}, []string{}}
		for _, to := range boxes {
			if from.outside && to.outside || from.host && to.host {
				continue
			}
			list := map[policy.Reach]*[]string{
				policy.Everything: &row.Reaches, policy.PublishedOnly: &row.Published, policy.Nothing: &row.Nothing,
			}[reach(from, to)]
			*list = append(*list, to.Name)
		}
		rows = append(rows, row)
	}
	return rows
}

// everyBox returns those of the graph, and the host.
func everyBox(v firewall.Survey) []box {
	return append(boxesOf(v), box{Network: firewall.Network{Name: "host"}, host: true})
}

// mostAlone is how many networks have a row each. The networks of a host with more share
// one with those that have the same policy and ports, and a bridge to themselves.
const mostAlone = 12

// group is networks that reach the same others, and are reached by the same.
type group struct {
	box

	names []string
}

// groupsOf returns the groups of the boxes, in the order of the first of each.
func groupsOf(boxes []box) []group {
	var groups []group
	at := map[[3]string]int{}
	for _, b := range boxes {
		key := [3]string{string(b.IngressPolicy), string(b.PublishedPorts), ""}
		if len(boxes) <= mostAlone || b.outside || b.host || sharesBridge(b, boxes) {
			key[2] = b.Name + "/" + b.Bridge
		}
		i, known := at[key]
		if !known {
			i = len(groups)
			at[key] = i
			groups = append(groups, group{box: b})
		}
		groups[i].names = append(groups[i].names, b.Name)
	}
	return groups
}

func sharesBridge(b box, boxes []box) bool {
	n := 0
	for _, other := range boxes {
		if other.Bridge == b.Bridge && b.Bridge != "" {
			n++
		}
	}
	return n > 1
}

// title names a group: of many networks, the first ones.
func (g group) title() string {
	const most = 3
	if len(g.names) <= most {
		return strings.Join(g.names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(g.names[:most], ", "), len(g.names)-most)
}

// paint colours a text; nil where there are to be no colours.
type paint func(code, text string) string

// painterFor returns colours for a terminal, unless NO_COLOR (no-color.org) is set.
func painterFor(w io.Writer) paint {
	f, isFile := w.(*os.File)
	if isFile && os.Getenv("NO_COLOR") == "" {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return func(code, text string) string { return "\x1b[" + code + "m" + text + "\x1b[0m" }
		}
	}
	return func(_, text string) string { return text }
}

// words are the cells of the matrix, and their colours.
var words = map[policy.Reach][2]string{
	policy.Everything: {"all", "32"}, policy.PublishedOnly: {"ports", "33"}, policy.Nothing: {"-", "36"},
}

const matrixLegend = `
Each row reaches each column, by the policies of the networks.
all: at their own addresses and by published ports.  ports: by published ports alone.  -: not at all.
What the outside reaches at containers' own addresses depends on routes, firewalld's zones and FORWARD's policy.
`

// matrix returns who reaches whom as a table: each row from a network to those of all
// rows, which columns name by their numbers.
func matrix(v firewall.Survey, colour paint) string {
	groups := groupsOf(everyBox(v))
	rows := [][]string{{"", "FROM \\ TO"}}
	for i, g := range groups {
		rows[0] = append(rows[0], columnOf(i, g))
		line := []string{strconv.Itoa(i + 1), g.title()}
		for _, to := range groups {
			line = append(line, cellOf(g, to))
		}
		rows = append(rows, line)
	}
	return align(rows, colour) + matrixLegend
}

// columnOf returns the head of a column.
func columnOf(i int, g group) string {
	if g.outside || g.host {
		return g.Name
	}
	return strconv.Itoa(i + 1)
}

// cellOf returns the word for the way between two groups. Within one of several networks,
// the way within a network comes first, and then that to another one.
func cellOf(from, to group) string {
	if from.outside && to.outside || from.host && to.host {
		return ""
	}
	word := words[reach(from.box, to.box)][0]
	if len(from.names) > 1 && from.names[0] == to.names[0] {
		other := to.box
		other.Bridge += " of another"
		if between := words[reach(from.box, other)][0]; between != word {
			word += "/" + between
		}
	}
	return word
}

// align prints cells in columns as wide as their widest.
func align(rows [][]string, colour paint) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			width[i] = max(width[i], len(text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, text := range row {
			line += coloured(text, colour) + strings.Repeat(" ", width[i]-len(text)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func coloured(text string, colour paint) string {
	for _, w := range words {
		if text == w[0] {
			return colour(w[1], text)
		}
	}
	return text
}
