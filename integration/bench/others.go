// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/cni-isolation/firewall/integration/host"
)

// What else a host has.
const (
	othersNone       = "none"
	othersDocker     = "docker"
	othersUFW        = "ufw"
	othersMany       = "5000" // rules, in each family
	othersConnection = "connection"
)

var besides = map[string]string{
	othersDocker: ", beside Docker", othersUFW: ", beside ufw", othersMany: ", beside 5,000 other rules",
	othersConnection: ", beside one connection",
}

// settle has others make their rules, and keeps those of the filter tables for reset.
func (w *Worker) settle() (err error) {
	switch w.side.Others {
	case othersDocker:
		err = w.host.Docker(host.Docker28, "172.17.0.2", "fd00:17::2")
	case othersUFW:
		err = w.host.UFW()
	case othersMany:
		err = w.blocklist()
	case othersConnection:
		return w.connection()
	default:
		return nil
	}
	if err != nil {
		return err
	}
	w.others = map[string]string{}
	for _, program := range []string{"iptables", "ip6tables"} {
		rules, err := w.host.Run(program+"-save", "-t", "filter")
		if err != nil {
			return err
		}
		if !strings.Contains(rules, "\n-A ") {
			return fmt.Errorf("%s made no rules: %s", w.side.Others, rules)
		}
		w.others[program] = rules
	}
	return nil
}

// restoreOthers puts back the rules of others, and nothing else into the filter tables.
func (w *Worker) restoreOthers() error {
	for program, rules := range w.others {
		if _, err := w.host.Feed(rules, program+"-restore", "--wait"); err != nil {
			return err
		}
	}
	return nil
}

// blocklist makes the rules of a host that keeps out many addresses, whatever they
// send to.
func (w *Worker) blocklist() error {
	for program, format := range map[string]string{"iptables": "198.18.%d.%d/32", "ip6tables": "2001:db8:%x::%x/128"} {
		if _, err := w.host.Feed(blocklist(format, 5000), program+"-restore", "--noflush", "--wait"); err != nil {
			return err
		}
	}
	return nil
}

func blocklist(format string, count int) string {
	var b strings.Builder
	b.WriteString("*filter\n:BLOCKLIST - [0:0]\n-A INPUT -j BLOCKLIST\n-A FORWARD -j BLOCKLIST\n")
	for i := range count {
		fmt.Fprintf(&b, "-A BLOCKLIST -s "+format+" -j DROP\n", i/256, i%256)
	}
	return b.String() + "COMMIT\n"
}

// connection tracks connections, and holds one of the host with itself.
func (w *Worker) connection() error {
	if err := w.track(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	w.held = []io.Closer{listener, conn} // which are closed when nobody has them
	const counted = "/proc/sys/net/netfilter/nf_conntrack_count"
	if count := line(readFile(counted)); count != "1" {
		return fmt.Errorf("%s: it says %s, and there is one connection", counted, count)
	}
	return nil
}
