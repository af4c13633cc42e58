// SPDX-License-Identifier: Apache-2.0

// Demo shows, on a throw-away host, who reaches whom: containers of two
// same-bridge networks and of an isolated one, the host, and the world outside.
// A table without the plugin comes first, and all of it must be open: a probe
// without its tool, or a host without routes, looks just like a packet dropped.
// Then the plugin joins the chain, and the table must be as it promises. In the
// end the containers go, and their rules with them.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/cni-isolation/firewall/integration/host"
)

func main() {
	h, err := host.Enter()
	if err == nil {
		err = demonstrate(h, stdout())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo failed: %v\n", err)
		os.Exit(1)
	}
}

func demonstrate(h *host.Host, out output) error {
	before, err := h.Rules()
	if err != nil {
		return err
	}
	w, err := newWorld(h)
	if err != nil {
		return err
	}
	if err := w.describe(out); err != nil {
		return err
	}
	if err := control(w, out); err != nil {
		return err
	}
	// What is wrong from here on is shown in full: the rules tell why.
	return errors.Join(isolation(w, out), showRules(h, out), removal(w, before, out))
}

// control shows that all is open as long as the plugin is not in the chain.
func control(w *world, out output) error {
	out.heading("1. Without the firewall plugin: everybody reaches everybody")
	if err := w.add(false); err != nil {
		return err
	}
	if err := w.table(openToAll, out); err != nil {
		return fmt.Errorf("without the plugin: %w; what is shut already proves nothing about the plugin", err)
	}
	return w.del()
}

// isolation shows that the plugin keeps its promise.
func isolation(w *world, out output) error {
	out.heading("2. With the firewall plugin: networks are apart; outside, host and published ports stay open to all")
	if err := w.add(true); err != nil {
		return err
	}
	if err := w.table(promised, out); err != nil {
		return fmt.Errorf("with the plugin: %w", err)
	}
	return nil
}

// anatomy says which packets the rules are about.
const anatomy = `A packet that the host forwards passes FORWARD, from top to bottom. CNI-ISOLATION-STAGE-1 looks at where it comes from:
out of a bridge (-i) to another interface, it goes on to CNI-ISOLATION-STAGE-2, and is dropped there if that interface
is a bridge too (-o). RETURN spares published ports, which the host redirects to a container (DNAT). CNI-FORWARD
then accepts what containers send and the answers to it, unless the operator's own rules in CNI-ADMIN say otherwise.
`

func showRules(h *host.Host, out output) error {
	out.heading("3. The plugin's rules, as the kernel holds them")
	rules, err := h.Rules()
	out.print("%s\n%s", anatomy, ofPlugin(rules))
	return err
}

// removal shows that the rules go with the last container.
func removal(w *world, before string, out output) error {
	out.heading("4. All containers deleted: what stays of the rules")
	if err := w.del(); err != nil {
		return err
	}
	after, err := w.host.Rules()
	if err != nil {
		return err
	}
	out.print("%s", ofPlugin(after))
	wrong := difference(before, after)
	for _, line := range wrong {
		out.print("%s\n", out.loud(line))
	}
	if len(wrong) > 0 {
		return errors.New("after the last DEL the rules are not what they were before the first ADD")
	}
	out.print("%s\n", out.good("As before the first container, but for the two chains that never go: CNI-FORWARD, and CNI-ADMIN for the operator's rules."))
	return nil
}
