// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/google/nftables"
)

// The floor is what every call pays, however little it does.
const (
	floorHello   = "a Go program that says hello"
	floorVersion = "VERSION of the plugin"
	floorAbout   = "the plugin with no CNI_COMMAND"
	floorList    = "iptables -S"
	floorRestore = "iptables-restore of one rule"
	floorNetlink = "one netlink transaction of nftables"
)

// FloorOf is what to measure, of a host in its present state.
type FloorOf struct{ What string }

// Floor measures once. It returns milliseconds.
func (w *Worker) Floor(of FloorOf, took *float64) error {
	run := func(p program) error {
		c, err := p.run()
		*took = milliseconds(c.Wall)
		return err
	}
	version := w.program("VERSION", w.container(0))
	switch of.What {
	case floorHello:
		return run(program{path: w.binary("bench-bare")})
	case floorVersion:
		version.stdin = []byte(`{"cniVersion":"1.0.0"}`)
		return run(version)
	case floorAbout:
		version.env = nil
		return run(version)
	case floorList:
		return run(tool("", "iptables", "--wait", "-S"))
	case floorRestore:
		return w.floorRestore(run)
	case floorNetlink:
		return w.floorNetlink(took)
	}
	return fmt.Errorf("there is no floor %q", of.What)
}

func tool(stdin, name string, args ...string) program {
	path, err := exec.LookPath(name)
	if err != nil {
		path = name // its start fails, and says so
	}
	return program{path: path, args: args, env: os.Environ(), stdin: []byte(stdin)}
}

func (w *Worker) floorRestore(run func(program) error) error {
	rule := func(op string) string { return "*filter\n" + op + " FORWARD -s 192.0.2.1/32 -j ACCEPT\nCOMMIT\n" }
	if err := run(tool(rule("-A"), "iptables-restore", "--noflush", "--wait")); err != nil {
		return err
	}
	_, err := tool(rule("-D"), "iptables-restore", "--noflush", "--wait").run()
	return err
}

// floorNetlink adds an element to a set, of another table where there is none of
// the plugin's.
func (w *Worker) floorNetlink(took *float64) error {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "floor"})
	s := &nftables.Set{Table: t, Name: "addresses", KeyType: nftables.TypeIPAddr}
	if err := c.AddSet(s, nil); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	begin := time.Now()
	address := netip.MustParseAddr("192.0.2.1").As4()
	if err := c.SetAddElements(s, []nftables.SetElement{{Key: address[:]}}); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	*took = milliseconds(time.Since(begin))
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return err
	}
	return c.CloseLasting()
}

// measureFloor measures what each side's calls cannot go below.
func measureFloor(sides []*remote, containers int, o options) ([]FloorRow, error) {
	var rows []FloorRow
	for _, r := range sides {
		for _, what := range floorsOf(r.Side, containers) {
			var values []float64
			for range o.rounds {
				var took float64
				if err := r.ask("Floor", FloorOf{what}, &took); err != nil {
					return nil, err
				}
				values = append(values, took)
			}
			rows = append(rows, FloorRow{r.Variant, r.setting(), containers, r.Name, what, summarize(values)})
		}
	}
	return rows, nil
}

func floorsOf(s Side, containers int) []string {
	var all []string
	if containers == 0 && s.Plugin == Ours {
		all = append(all, floorHello)
	}
	if containers == 0 {
		all = append(all, floorVersion, floorAbout)
	}
	switch s.Name {
	case "iptables-nft", "iptables-legacy":
		all = append(all, floorList, floorRestore)
	case "nftables":
		all = append(all, floorNetlink)
	}
	return all
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
