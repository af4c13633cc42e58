// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bridges is how many the containers are spread over.
const bridges = 100

// options is which part of all that can be measured is.
type options struct {
	parts      []string
	backends   []string
	families   families
	containers []int
	atOnce     []int
	rounds     int
	output     string
	plot       string
}

// families is which ones containers have addresses of.
type families []string

// both returns whether IPv6 is among them, for each way to have it.
func (f families) both() []bool {
	var all []bool
	for _, name := range f {
		all = append(all, name == "dual")
	}
	return all
}

// choices are what can be chosen from.
var choices = struct{ parts, backends, families []string }{
	[]string{"calls", "packets"},
	[]string{"iptables-nft", "iptables-legacy", "nftables", "firewalld"},
	[]string{"ipv4", "dual"},
}

func parseOptions(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	parts := f.String("parts", "calls,packets", "what to measure: "+strings.Join(choices.parts, ", "))
	backends := f.String("backends", strings.Join(choices.backends, ","), "of the plugin under test")
	fams := f.String("families", "dual", "addresses of the containers: "+strings.Join(choices.families, ", "))
	containers := f.String("containers", "0,100,1000", "how many there are before the one that is measured: 0, or 100 and more")
	atOnce := f.String("at-once", "1,16", "how many calls to start at the same time")
	f.IntVar(&o.rounds, "rounds", 15, "how often each is measured; several at once a third as often")
	f.StringVar(&o.output, "o", "table", "what to write: table or json")
	f.StringVar(&o.plot, "plot", "", "file to draw time against containers to, .svg or .png")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	choose := func(name, text string, from []string) []string {
		list := strings.Split(text, ",")
		for _, word := range list {
			if err == nil && !slices.Contains(from, word) {
				err = fmt.Errorf("-%s: %q is unknown: it must be of %s", name, word, strings.Join(from, ", "))
			}
		}
		return list
	}
	numbers := func(name, text string, least int) []int {
		var list []int
		for word := range strings.SplitSeq(text, ",") {
			n, parseErr := strconv.Atoi(word)
			if err == nil && (parseErr != nil || n < least) {
				err = fmt.Errorf("-%s: %q is no number of at least %d", name, word, least)
			}
			list = append(list, n)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	o.parts, o.backends = choose("parts", *parts, choices.parts), choose("backends", *backends, choices.backends)
	o.families = choose("families", *fams, choices.families)
	o.containers, o.atOnce = numbers("containers", *containers, 0), numbers("at-once", *atOnce, 1)
	for _, n := range o.containers {
		if err == nil && n > 0 && n < bridges {
			err = fmt.Errorf("-containers: %d are too few for %d bridges, of which each must have one", n, bridges)
		}
	}
	return o, err
}
