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
	"flag"
	"fmt"
	"os"

	"github.com/cni-isolation/firewall/integration/host"
)

func main() {
	nftables := flag.Bool("nftables", false, "have the plugin make its rules with nftables, and without iptables in its PATH")
	firewalld := flag.Bool("firewalld", false, "run the host by firewalld, and have that reload")
	flag.Parse()
	h, err := host.Enter()
	switch {
	case err != nil:
	case *firewalld:
		err = h.Use(host.Backend{Name: host.FirewalldZones, Key: host.FirewalldZones, Variant: "nft"})
	case *nftables:
		err = h.Use(host.Backend{Name: host.NFTables, Key: host.NFTables, Variant: "nft"})
	}
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
	k := kernelOf(h)
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
	return errors.Join(isolation(w, out), k.show(h, out), k.reload(w, out), k.removal(w, before, out))
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
