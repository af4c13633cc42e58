// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// PluginDir is where container engines look for plugins, and ConflistDir for
// networks.
const (
	PluginDir   = "/opt/cni/bin"
	ConflistDir = "/etc/cni/net.d"
)

// Scratch gives the host directories of its own for all that container engines
// read and write, and installs the plugin and those that are chained with it.
// What the machine has in its own directories can be seen, and is never changed.
func (h *Host) Scratch() error {
	for _, dir := range []string{"/etc", "/opt", "/var"} {
		if err := Overlay(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{
		"/dev/shm", // Podman has its locks there, in a file of always the same name
		PluginDir,
		ConflistDir,
		"/var/lib/cni",
		// No layer of an overlay may be on an overlay.
		"/var/lib/buildkit",
		"/var/lib/containerd",
		"/var/lib/containers",
	} {
		if err := empty(dir); err != nil {
			return err
		}
	}
	return h.install()
}

// WithoutIPTables takes the programs of iptables off the host, in every variant.
func (h *Host) WithoutIPTables() error {
	if err := Overlay("/usr"); err != nil {
		return err
	}
	for _, pattern := range []string{"iptables*", "ip6tables*", "xtables*"} {
		found, err := filepath.Glob("/usr/*bin/" + pattern)
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// install puts the plugins where engines look for them.
func (h *Host) install() error {
	plugins, err := filepath.Glob(h.Plugins() + "/*")
	if err != nil {
		return err
	}
	for _, plugin := range append(plugins, h.Firewall) {
		if err := os.WriteFile(filepath.Join(PluginDir, filepath.Base(plugin)), nil, 0o755); err != nil {
			return err
		}
		if err := installOne(plugin); err != nil {
			return err
		}
	}
	h.Firewall = filepath.Join(PluginDir, "firewall")
	return nil
}

func installOne(plugin string) error {
	target := filepath.Join(PluginDir, filepath.Base(plugin))
	if err := unix.Mount(plugin, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("installing %s: %w", target, err)
	}
	return nil
}

// InstallUpstream puts upstream's plugin in the place of the one under test, for a
// control.
func (h *Host) InstallUpstream() error { return installOne(h.Upstream()) }

// OverDistribution installs the plugin over the one of the distribution, as its
// user does, instead of beside it.
func (h *Host) OverDistribution() error {
	if err := Overlay("/usr"); err != nil {
		return err
	}
	for _, dir := range []string{"/usr/libexec/cni", "/usr/lib/cni"} {
		if _, err := os.Stat(dir + "/bridge"); err == nil {
			_, err := h.Run(filepath.Join(h.root, "scripts", "install"), filepath.Join(h.root, "bin", "firewall"), dir)
			h.Firewall = filepath.Join(dir, "firewall")
			return err
		}
	}
	return errors.New("the distribution's plugins are not installed")
}

// Overlay has what is written to a directory, and removed from it, stay on the
// host.
func Overlay(dir string) error {
	upper, work := "/run/overlay"+dir+"/upper", "/run/overlay"+dir+"/work"
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("mounting an overlay on %s: %w", dir, err)
	}
	return nil
}

// empty mounts an empty directory, which it makes if need be.
func empty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", dir, err)
	}
	return nil
}
