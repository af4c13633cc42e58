// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// portmap starts iptables fifty times for a container with a port, which is most
// of the work of making a host. On hosts with the same containers it writes the
// same rules. So the first of these hosts saves its nat tables, and the others
// load them.

// ForwardsVariable names the directory of what hosts of a test run saved.
const ForwardsVariable = "FIREWALL_THROW_AWAY_FORWARDS"

// ShareForwards has the hosts that this process starts share what portmap writes.
// The caller ends it when all of them are gone. On such a host it does nothing.
func ShareForwards() (end func() error, err error) {
	if os.Getenv(ForwardsVariable) != "" {
		return func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "forwards")
	if err != nil {
		return nil, err
	}
	return func() error { return os.RemoveAll(dir) }, os.Setenv(ForwardsVariable, dir)
}

// Forward runs add, which attaches containers with published ports to networks;
// one name always stands for the same ones. On the first host portmap forwards
// their ports. On a later one their forwards are loaded, and add does without
// portmap; DEL and CHECK have it as ever.
func (h *Host) Forward(name string, networks []*Network, add func() error) error {
	shared := os.Getenv(ForwardsVariable)
	empty, err := h.natIsEmpty()
	if err != nil {
		return err
	}
	if shared == "" || h.variant == "" || !empty { // rules of others would be saved, or lost
		return add()
	}
	dir := filepath.Join(shared, h.variant+"-"+name)
	err = h.loadForwards(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return h.addFirst(dir, add)
	}
	if err != nil {
		return err
	}
	return h.addForwarded(networks, add)
}

// addFirst has portmap forward the ports, and saves what it wrote.
func (h *Host) addFirst(dir string, add func() error) error {
	if err := add(); err != nil {
		return err
	}
	return h.saveForwards(dir)
}

// addForwarded does without portmap.
func (h *Host) addForwarded(networks []*Network, add func() error) error {
	for _, n := range networks {
		n.forwarded = true
		defer func() { n.forwarded = false }()
	}
	if err := add(); err != nil {
		return err
	}
	for _, n := range networks {
		// portmap does this, too: what the host sends to 127.0.0.1 may leave by the bridge.
		if err := h.Sysctl("net/ipv4/conf/" + n.Bridge + "/route_localnet=1"); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) natIsEmpty() (bool, error) {
	for _, program := range natPrograms {
		if rules, err := h.Run(program, "-t", "nat", "-S"); err != nil || strings.Contains(rules, "-A ") {
			return false, err
		}
	}
	return true, nil
}

var natPrograms = []string{"iptables", "ip6tables"}

func (h *Host) loadForwards(dir string) error {
	for _, program := range natPrograms {
		rules, err := os.ReadFile(filepath.Join(dir, program))
		if err != nil {
			return err
		}
		if _, err := h.Feed(string(rules), program+"-restore"); err != nil {
			return err
		}
	}
	return nil
}

// saveForwards saves both families at once, or nothing where another host was
// first.
func (h *Host) saveForwards(dir string) error {
	whole, err := os.MkdirTemp(filepath.Dir(dir), "half")
	if err != nil {
		return err
	}
	for _, program := range natPrograms {
		rules, err := h.Run(program+"-save", "-t", "nat")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(whole, program), []byte(rules), 0o644); err != nil {
			return err
		}
	}
	if err := os.Rename(whole, dir); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
