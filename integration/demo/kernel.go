// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/cni-isolation/firewall/integration/host"
)

// kernel is what the demo says about a backend's part of the kernel.
type kernel struct {
	anatomy string   // which packets the rules are about
	staying []string // rules of each family that no DEL removes
	gone    string   // what there is to say after the last DEL
	table   bool     // it has a table of its own
	zones   bool     // containers' addresses are in zones of firewalld
}

var iptables = kernel{
	anatomy: `A packet that the host forwards passes FORWARD, from top to bottom. CNI-PUBLISHED is for published ports, which the host
redirects to a container (DNAT). CNI-ISOLATION-STAGE-1 looks at where a packet comes from: out of a bridge (-i) to another
interface, it goes on to CNI-ISOLATION-STAGE-2, and is dropped there if that interface is a bridge too (-o). CNI-FORWARD then
accepts what containers send and the answers to it. Ahead of all that is accepted stand the operator's own rules, in CNI-ADMIN.
`,
	staying: staying,
	gone:    "As before the first container, but for the two chains that never go: CNI-FORWARD, and CNI-ADMIN for the operator's rules.",
}

var nftables = kernel{
	anatomy: `A packet that the host forwards passes the chain isolation first. Out of one of the isolated_bridges it goes to stage 1,
and if it leaves by one, too, to stage 2. That lets pass published ports, which the host redirects to a container (DNAT), and
what stays on the bridge, unless the bridge is blocked_within, and drops the rest. The rules are always these: networks and
containers are elements of sets. The operator's own rules stand in CNI-ADMIN.
`,
	gone:  "As before the first container: the table is gone, and iptables was never touched.",
	table: true,
}

// firewalld has the table too.
var firewalld = kernel{
	anatomy: nftables.anatomy + `firewalld forwards what its zone trusted may send, in which containers' addresses are sources. It comes after the table.
`,
	gone:  "As before the first container: the table and the sources are gone, and iptables was never touched.",
	table: true,
	zones: true,
}

func kernelOf(h *host.Host) kernel {
	switch h.Backend.Key {
	case host.FirewalldZones:
		return firewalld
	case host.NFTables:
		return nftables
	}
	return iptables
}

// show prints the plugin's rules.
func (k kernel) show(h *host.Host, out output) error {
	out.heading("3. The plugin's rules, as the kernel holds them")
	rules, err := k.listing(h)
	out.print("%s\n%s", k.anatomy, rules)
	return err
}

func (k kernel) listing(h *host.Host) (string, error) {
	if k.table {
		table, err := h.Run("nft", "list", "table", "inet", "cni_firewall")
		if err != nil {
			return "", err
		}
		sources, err := h.Sources()
		return table + sources, err
	}
	rules, err := h.Rules()
	return ofPlugin(rules), err
}

// reload shows that firewalld may forget everything, and opens nothing by it.
func (k kernel) reload(w *world, out output) error {
	if !k.zones {
		return nil
	}
	out.heading("3b. firewall-cmd --reload: sources and published ports are gone, the isolation is not")
	table, err := w.host.Table()
	if err != nil {
		return err
	}
	if _, err := w.host.Run("firewall-cmd", "--reload"); err != nil {
		return err
	}
	switch left, err := w.host.Table(); {
	case err != nil:
		return err
	case left != table:
		return fmt.Errorf("the table after a reload:\n%s", left)
	}
	out.print("%s With the containers attached again:\n", out.good("The table is what it was."))
	if err := errors.Join(w.del(), w.add(true)); err != nil {
		return err
	}
	if err := w.table(promised, out); err != nil {
		return fmt.Errorf("after a reload: %w", err)
	}
	return nil
}

// removal shows that the rules go with the last container.
func (k kernel) removal(w *world, before string, out output) error {
	out.heading("4. All containers deleted: what stays of the rules")
	if err := w.del(); err != nil {
		return err
	}
	table, err := w.host.Table()
	if err != nil {
		return err
	}
	sources, err := w.host.Sources()
	if err != nil {
		return err
	}
	after, err := w.host.Rules()
	if err != nil {
		return err
	}
	table += sources
	out.print("%s%s", table, ofPlugin(after))
	wrong := difference(before, after, k.staying)
	for _, line := range wrong {
		out.print("%s\n", out.loud(line))
	}
	if len(wrong) > 0 || table != "" {
		return errors.New("after the last DEL the rules are not what they were before the first ADD")
	}
	out.print("%s\n", out.good(k.gone))
	return nil
}
