// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Backend is what the plugin makes its rules with.
type Backend struct {
	Name    string // of its tests
	Key     string // what networks say; nothing if the plugin is to choose, as users have it
	Variant string // of iptables, which portmap and the test itself use in any case
}

// Backends are those that every promise holds for.
var Backends = []Backend{
	{Name: "iptables-nft", Variant: "nft"},
	{Name: "iptables-legacy", Variant: "legacy"},
	{Name: "nftables", Key: NFTables, Variant: "nft"},
	{Name: "firewalld", Key: FirewalldZones, Variant: "nft"},
}

// What networks call the backends that need no program.
const (
	NFTables       = "nftables"
	FirewalldZones = "firewalld"
)

// HasTable reports whether the backend keeps the rules in the plugin's own table,
// which needs no program.
func (b Backend) HasTable() bool { return b.Key != "" }

// Use makes networks say a backend. The plugin finds neither iptables nor nft
// with those that need neither, whoever starts it. firewalld, where it is used,
// keeps nothing out on its own.
func (h *Host) Use(b Backend) error {
	h.Backend = b
	if err := h.UseVariant(b.Variant); err != nil || !b.HasTable() {
		return err
	}
	if b.Key == FirewalldZones {
		if _, err := h.Bus(); err != nil {
			return err
		}
		if _, err := h.Firewalld("nftables", "trusted"); err != nil {
			return err
		}
	}
	return h.withoutPrograms()
}

// withoutPrograms puts a script in the place of the plugin, which starts it, as
// the same process, with a PATH that leads nowhere.
func (h *Host) withoutPrograms() error {
	const dir, empty = "/run/nftables", "/run/nftables/empty"
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return err
	}
	script := fmt.Sprintf("PATH=%s exec '%s' \"$@\"\n", empty, h.Firewall)
	h.Firewall = filepath.Join(dir, "firewall")
	return WriteScript(h.Firewall, script)
}

// Variants are those of iptables, each of which PATH can give.
var Variants = []string{"nft", "legacy"}

// alternatives are links to what the machine has chosen.
const alternatives = "/etc/alternatives"

// hideAlternative takes the machine's own choice of iptables off the host: the plugin
// looks in /usr/sbin, too, whatever PATH says. The variants keep their own names.
func hideAlternative() error {
	if path, _ := exec.LookPath("/usr/sbin/iptables"); path == "" {
		return nil
	}
	if err := Overlay(alternatives); err != nil {
		return err
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := os.Remove(filepath.Join(alternatives, name+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	if path, err := exec.LookPath("/usr/sbin/iptables"); err == nil {
		return fmt.Errorf("%s is none of %s, so that it cannot be hidden", path, alternatives)
	}
	return nil
}

// UseVariant puts a variant of iptables in front of PATH, for this process and
// all it starts.
func (h *Host) UseVariant(variant string) error {
	h.variant = variant
	if err := hideAlternative(); err != nil {
		return err
	}
	dir := filepath.Join("/run/variant", variant)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			real, err := exec.LookPath(name + "-" + variant + suffix)
			if err != nil {
				return err
			}
			if err := os.Symlink(real, filepath.Join(dir, name+suffix)); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	return os.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}
