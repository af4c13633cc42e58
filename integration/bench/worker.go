// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/rpc"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// trackConnections has the kernel do what it does on every host with a container
// engine, whose rules for NAT need it.
const trackConnections = `
table inet tracking {
	chain forward {
		type filter hook forward priority filter
		ct state established
	}
}
`

// Worker runs on a throw-away host of its own, and does there what it is told
// over its standard input. So two plugins that write the same chains can be
// called in turn, and neither meets the other's rules.
type Worker struct {
	host     *host.Host
	links    *links
	outside  *host.Container
	side     Side
	path     string            // of the plugin; empty for none
	programs string            // the directory of the repository's own
	others   map[string]string // rules, by the program that restores them
	held     []io.Closer       // of others
	attached int               // containers that are there
	proven   bool              // that what is preloaded is what upstream's plugin writes
	sender   string            // network namespace of the container that packets come from
}

// serve is the main function of a worker.
func serve() error {
	h, err := host.Enter()
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(&Worker{host: h}); err != nil {
		return err
	}
	server.ServeConn(stdio{os.Stdin, os.Stdout})
	return nil
}

// stdio is both directions to who started this.
type stdio struct {
	io.Reader
	io.WriteCloser
}

// Nothing is what a method has no use for.
type Nothing struct{}

// SetUp makes the host what a side needs.
func (w *Worker) SetUp(side Side, _ *Nothing) error {
	w.side, w.path, w.programs = side, w.host.Firewall, filepath.Dir(w.host.Firewall)
	switch side.Plugin {
	case Upstream:
		w.path = w.host.Upstream()
	case NoPlugin:
		w.path = ""
	}
	if side.Nerdctl || side.Others == othersUFW {
		if err := w.host.Scratch(); err != nil {
			return err
		}
	}
	if err := w.host.UseVariant(side.Variant); err != nil {
		return err
	}
	if side.Conntrack {
		if err := w.track(); err != nil {
			return err
		}
	}
	if side.Firewalld {
		if _, err := w.host.Bus(); err != nil {
			return err
		}
		if _, err := w.host.Firewalld("nftables", "public"); err != nil {
			return err
		}
	}
	if err := w.settle(); err != nil { // behind firewalld, which flushes iptables when it starts
		return err
	}
	if _, err := w.host.Run("ip", "netns", "add", sandbox); err != nil {
		return err
	}
	var err error
	w.links, err = newLinks(sandbox)
	return err
}

func (w *Worker) track() error {
	_, err := w.host.Feed(trackConnections, "nft", "-f", "-")
	return err
}

func (w *Worker) container(number int) container { return container{w.side.Network, number} }

func (w *Worker) containers(from, to int) []container {
	var all []container
	for i := from; i < to; i++ {
		all = append(all, w.container(i))
	}
	return all
}

// Populate makes the host have so many containers, for all of which ADD was called
// or might have been.
func (w *Worker) Populate(count int, _ *Nothing) error {
	more := w.containers(w.attached, count)
	for _, c := range more {
		if err := w.links.attach(c); err != nil {
			return err
		}
	}
	w.attached = count
	if count == 0 {
		return nil
	}
	if w.side.Plugin == Upstream {
		return w.preload(w.containers(0, count))
	}
	return w.addAll(more)
}

// addAll calls ADD for containers, a few at a time.
func (w *Worker) addAll(containers []container) error {
	if w.path == "" {
		return nil
	}
	const atOnce = 4
	for batch := range slices.Chunk(containers, atOnce) {
		for _, r := range w.atOnce("ADD", batch) {
			if r.err != nil {
				return r.err
			}
		}
	}
	return nil
}

// Begin makes an empty host one that has just started.
func (w *Worker) Begin(round Round, _ *Nothing) error {
	if round.First > 0 {
		return nil
	}
	return w.reset()
}

// Attach makes the links of containers that a round is about, Detach removes them.
func (w *Worker) Attach(round Round, _ *Nothing) error {
	for _, c := range w.containers(round.First, round.First+round.Count) {
		if err := w.links.attach(c); err != nil {
			return err
		}
	}
	return nil
}

// Detach removes the links of containers, as the bridge plugin does after the
// firewall plugin's DEL.
func (w *Worker) Detach(round Round, _ *Nothing) error {
	for _, c := range w.containers(round.First, round.First+round.Count) {
		if err := w.links.detach(c); err != nil {
			return err
		}
	}
	return nil
}

// Round is the containers that are added, checked and deleted again.
type Round struct {
	First, Count int
}

// Call is one verb for all containers of a round at once.
type Call struct {
	Round
	Verb string
}

// Outcome is what became of a Call.
type Outcome struct {
	Wall     time.Duration // until the last one was done
	CPU      time.Duration // of all
	Failures []string      // what the calls said that failed
}

// Call calls the plugin.
func (w *Worker) Call(call Call, outcome *Outcome) error { //nolint:unparam // net/rpc wants an error
	begin := time.Now()
	results := w.atOnce(call.Verb, w.containers(call.First, call.First+call.Count))
	outcome.Wall = time.Since(begin)
	if len(results) == 1 {
		outcome.Wall = results[0].Wall
	}
	for _, r := range results {
		outcome.CPU += r.CPU
		if r.err != nil {
			outcome.Failures = append(outcome.Failures, r.err.Error())
		}
	}
	return nil
}

// Peak calls the plugin for one container, and returns the peak memory in KiB.
func (w *Worker) Peak(call Call, peak *int64) (err error) {
	*peak, err = w.program(call.Verb, w.container(call.First)).peak(w.binary("bench-bare"))
	return err
}

type result struct {
	cost
	err error
}

// atOnce starts a verb for all containers at once and waits for all.
func (w *Worker) atOnce(verb string, containers []container) []result {
	results := make([]result, len(containers))
	programs := make([]program, len(containers))
	for i, c := range containers {
		programs[i] = w.program(verb, c)
	}
	var wg sync.WaitGroup
	for i, p := range programs {
		wg.Go(func() { results[i].cost, results[i].err = p.run() })
	}
	wg.Wait()
	return results
}

// program is the plugin as a runtime starts it.
func (w *Worker) program(verb string, c container) program {
	netns, result := "/run/netns/"+sandbox, c.result()
	if verb == delNothing {
		verb, netns, result = "DEL", "", nil
	}
	return program{
		path:  w.path,
		stdin: c.conf(w.side, result),
		env: []string{
			"PATH=" + os.Getenv("PATH"), "CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + c.id(),
			"CNI_NETNS=" + netns, "CNI_IFNAME=eth0", "CNI_PATH=" + filepath.Dir(w.path),
		},
	}
}

// binary returns the path of one of the repository's binaries.
func (w *Worker) binary(name string) string {
	return filepath.Join(w.programs, name)
}

// reset takes away what there is of rules, as on a host that has just started.
func (w *Worker) reset() error {
	for _, command := range [][]string{
		{"iptables", "-w", "-F"}, {"iptables", "-w", "-X"}, {"ip6tables", "-w", "-F"}, {"ip6tables", "-w", "-X"},
	} {
		if _, err := w.host.Run(command[0], command[1:]...); err != nil {
			return fmt.Errorf("taking away all rules: %w", err)
		}
	}
	if err := w.restoreOthers(); err != nil {
		return err
	}
	if table, err := w.host.Table(); err != nil || table == "" {
		return err
	}
	_, err := w.host.Run("nft", "delete", "table", "inet", "cni_firewall")
	return err
}
