// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// graphs are the languages of "cni-firewall status --graph", which draws who reaches
// whom.
var graphs = map[string]graphLanguage{
	"mermaid": {
		head: "flowchart LR\n", box: "  n%d[\"%s\"]\n",
		all: "  n%d --> n%d\n", published: "  n%d -. published ports .-> n%d\n",
		quotes: strings.NewReplacer(`"`, "#quot;"), line: "<br/>",
	},
	"dot": {
		head: "digraph firewall {\n  rankdir=LR;\n  node [shape=box];\n", tail: "}\n",
		box: "  n%d [label=\"%s\"];\n",
		all: "  n%d -> n%d;\n", published: "  n%d -> n%d [style=dashed, label=\"published ports\"];\n",
		quotes: strings.NewReplacer(`\`, `\\`, `"`, `\"`), line: `\n`,
	},
}

type graphLanguage struct {
	head, box, all, published, tail string
	quotes                          *strings.Replacer
	line                            string // break in a label
}

// draw returns a graph with each network as a box. An arrow says that the containers of one
// network reach those of another.
func draw(v firewall.Survey, lang graphLanguage) string {
	var b strings.Builder
	b.WriteString(lang.head)
	boxes := boxesOf(v)
	for i, box := range boxes {
		label := []string{box.Name}
		if !box.outside {
			label = append(label, orDash(box.Bridge), string(box.IngressPolicy), count(len(box.Containers), "container"))
		}
		for j, text := range label {
			label[j] = lang.quotes.Replace(text)
		}
		fmt.Fprintf(&b, lang.box, i, strings.Join(label, lang.line))
	}
	for i, from := range boxes {
		for j, to := range boxes {
			switch reach(from, to) {
			case policy.Everything:
				fmt.Fprintf(&b, lang.all, i, j)
			case policy.PublishedOnly:
				fmt.Fprintf(&b, lang.published, i, j)
			case policy.Nothing:
			}
		}
	}
	b.WriteString(lang.tail)
	return b.String()
}

// box is a network, the world beyond the host, or the host.
type box struct {
	firewall.Network
	outside, host bool
}

func boxesOf(v firewall.Survey) []box {
	var list []box
	for _, n := range v.Networks {
		list = append(list, box{Network: n})
	}
	return append(list, box{Network: firewall.Network{Name: "outside"}, outside: true})
}

// reach returns how far traffic gets from one box to another. The outside is isolated from
// strict networks alone: how far it gets to others depends on routes.
func reach(from, to box) policy.Reach {
	switch {
	case from.outside && to.outside:
		return policy.Nothing
	case to.outside || to.host || from.host:
		return policy.Everything
	case from.outside:
		return policy.FromOutside(bridgeOf(to))
	}
	return policy.Reaches(bridgeOf(from), bridgeOf(to))
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// bridgeOf returns the bridge of a box for the model. A network without a bridge
// stands for itself.
func bridgeOf(n box) policy.Bridge {
	name := n.Bridge
	if name == "" {
		name = "network " + n.Name
	}
	return policy.Bridge{Name: name, IngressPolicy: n.IngressPolicy, PublishedPorts: n.PublishedPorts}
}
