// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// bridges is how many the containers are spread over.
const bridges = 100

// The parts of what can be measured.
const (
	partCalls   = "calls"
	partPackets = "packets"
)

// options is what to measure.
type options struct {
	parts, backends, families []string
	others, firewalls         []string
	containers, atOnce        []int
	rounds                    int
	nerdctl                   bool
	firewalldUpTo             int // containers
	output, plot              string
}

// All that lists can be chosen from.
var (
	allParts      = []string{partCalls, partPackets}
	allBackends   = []string{"iptables-nft", "iptables-legacy", "nftables", "firewalld"}
	allFamilies   = []string{"ipv4", "dual"}
	allContainers = []int{0, 100, 300, 1000}
	allOthers     = []string{othersNone, othersDocker, othersUFW, othersMany, othersConnection}
	allFirewalls  = []string{"upstream", "iptables-nft", "iptables-nft-strict", "nftables", "nftables-strict", "nftables-unguarded"}
	allOutputs    = []string{"table", "json"}
)

func parseOptions(args []string) (options, error) {
	o := options{parts: allParts, backends: allBackends, families: []string{"dual"}, others: []string{othersNone}, firewalls: allFirewalls, containers: []int{0, 100, 1000}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Var(wordList{&o.parts, allParts}, "parts", "")
	f.Var(wordList{&o.backends, allBackends}, "backends", "")
	f.Var(wordList{&o.families, allFamilies}, "families", "")
	f.Var(wordList{&o.others, allOthers}, "others", "")
	f.Var(wordList{&o.firewalls, allFirewalls}, "firewalls", "")
	f.Var(numberList{&o.containers}, "containers", "")
	f.Var(numberList{&o.atOnce}, "at-once", "")
	f.BoolVar(&o.nerdctl, "nerdctl", false, "")
	f.IntVar(&o.rounds, "rounds", 9, "")
	f.IntVar(&o.firewalldUpTo, "firewalld-up-to", bridges, "")
	f.StringVar(&o.output, "o", "table", "")
	f.StringVar(&o.plot, "plot", "", "")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(os.Stderr, usage)
		return o, err
	} else if err != nil {
		return o, err
	}
	if o.nerdctl {
		o.parts = nil
	}
	if o.atOnce == nil {
		o.atOnce = o.usuallyAtOnce()
	}
	return o, o.check()
}

func (o options) usuallyAtOnce() []int {
	if o.nerdctl {
		return []int{1, 20}
	}
	return []int{1, 16}
}

const usage = `usage: bench [flags], from the root of the repository; sudo make bench BENCH_FLAGS='...'
  -parts calls,packets   what to measure; calls are traced, too
  -backends LIST         of iptables-nft, iptables-legacy, nftables, firewalld; all unless given
  -families dual         addresses of the containers: ipv4, dual, or both
  -others none           what else the host has: none, rules of docker or ufw, 5000 rules in each
                         family, or a connection that it tracks
  -firewalls LIST        that packets pass, of upstream, iptables-nft, iptables-nft-strict, nftables,
                         nftables-strict, nftables-unguarded (without the guard against forged
                         sources); all unless given
  -containers 0,100,1000 how many there are already when one is added: 0, or 100 and more
  -at-once 1,16          how many calls to start at the same time
  -nerdctl               the plugin's share in nerdctl run and rm -f, in place of -parts: one at a
                         time and 20 at once, unless -at-once says another number
  -rounds 9              how often each call is measured; several at once and packets a third as often
  -firewalld-up-to 100   containers with firewalld, which takes a second for each when it has 1,000
  -o table               or json
  -plot FILE             draws time against containers, to a .svg or .png
`

func (o options) check() error {
	if !slices.Contains(allOutputs, o.output) {
		return fmt.Errorf("-o: %q is unknown: it must be %s", o.output, strings.Join(allOutputs, " or "))
	}
	if o.rounds < 1 {
		return fmt.Errorf("-rounds: %d is too few: it must be at least 1", o.rounds)
	}
	for _, n := range o.containers {
		if n < 0 || n > 0 && n < bridges {
			return fmt.Errorf("-containers: %d is neither 0 nor at least %d, one for each bridge", n, bridges)
		}
	}
	if o.firewalldUpTo < bridges {
		return fmt.Errorf("-firewalld-up-to: %d are too few: it must be at least %d", o.firewalldUpTo, bridges)
	}
	for _, n := range o.atOnce {
		if n < 1 || n > bridges {
			return fmt.Errorf("-at-once: %d is not from 1 to %d", n, bridges)
		}
	}
	if o.plot != "" && !slices.Contains(o.parts, partCalls) {
		return errors.New("-plot: it is the calls that are drawn, and -parts has them not")
	}
	return nil
}

// roundsOf returns how often calls are measured of which some are at once.
func (o options) roundsOf(atOnce int) int {
	if atOnce == 1 {
		return o.rounds
	}
	return o.packetRounds()
}

func (o options) packetRounds() int { return max(1, o.rounds/3) }

// containersOf returns with how many containers a group is measured.
func (o options) containersOf(g group) []int {
	if !g.sides[0].Firewalld {
		return o.containers
	}
	return slices.DeleteFunc(slices.Clone(o.containers), func(n int) bool { return n > o.firewalldUpTo })
}

// steps is how many rounds there will be in all.
func (o options) steps(groups []group) int {
	n := 0
	for _, g := range groups {
		for _, atOnce := range o.atOnce {
			if slices.Contains(o.parts, partCalls) {
				n += len(o.containersOf(g)) * o.roundsOf(atOnce)
			}
			if o.nerdctl {
				n += o.roundsOf(atOnce)
			}
		}
	}
	if slices.Contains(o.parts, partPackets) {
		n += len(packetContainers) * o.packetRounds()
	}
	return n
}

// leftOut says what could be measured and will not be.
func (o options) leftOut() []string {
	var all []string
	missing := func(what string, from, chosen []string) {
		var rest []string
		for _, word := range from {
			if !slices.Contains(chosen, word) {
				rest = append(rest, word)
			}
		}
		if rest != nil {
			all = append(all, what+" "+strings.Join(rest, ", "))
		}
	}
	missing("-parts", allParts, o.parts)
	if !o.nerdctl {
		all = append(all, "-nerdctl")
	}
	if o.nerdctl || slices.Contains(o.parts, partCalls) {
		missing("-backends", allBackends, o.backends)
		missing("-families", allFamilies, o.families)
		missing("-others", allOthers, o.others)
		missing("-at-once", words(o.usuallyAtOnce()), words(o.atOnce))
	}
	if slices.Contains(o.parts, partCalls) {
		missing("-containers", words(allContainers), words(o.containers))
		if last := o.containers[len(o.containers)-1]; last > o.firewalldUpTo && slices.Contains(o.backends, "firewalld") {
			all = append(all, fmt.Sprintf("more than %d containers with firewalld (-firewalld-up-to)", o.firewalldUpTo))
		}
	}
	if slices.Contains(o.parts, partPackets) {
		missing("-firewalls", allFirewalls, o.firewalls)
		all = append(all, "packets through iptables-legacy and firewalld, and over IPv6")
	}
	return all
}

func words(numbers []int) []string {
	var all []string
	for _, n := range numbers {
		all = append(all, strconv.Itoa(n))
	}
	return all
}

// wordList is a flag whose value is some of a list.
type wordList struct {
	value *[]string
	from  []string
}

// String returns the value as it is written.
func (l wordList) String() string {
	if l.value == nil { // flag asks an empty one
		return ""
	}
	return strings.Join(*l.value, ",")
}

// Set reads the value.
func (l wordList) Set(text string) error {
	*l.value = strings.Split(text, ",")
	for _, word := range *l.value {
		if !slices.Contains(l.from, word) {
			return fmt.Errorf("%q is unknown: it must be of %s", word, strings.Join(l.from, ", "))
		}
	}
	return nil
}

// numberList is a flag whose value is numbers.
type numberList struct{ value *[]int }

// String returns the value as it is written.
func (l numberList) String() string {
	if l.value == nil { // flag asks an empty one
		return ""
	}
	return strings.Join(words(*l.value), ",")
}

// Set reads the value.
func (l numberList) Set(text string) error {
	*l.value = nil
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return fmt.Errorf("%q is no number", word)
		}
		*l.value = append(*l.value, n)
	}
	slices.Sort(*l.value)
	*l.value = slices.Compact(*l.value)
	return nil
}
