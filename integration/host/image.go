// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Image is the root of a container that has busybox and nothing else. busybox
// must be static: it has no libraries there.
func (h *Host) Image() (string, error) {
	const root = "/run/image"
	for _, dir := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return "", err
		}
	}
	program, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	busybox, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "busybox")
	if err := os.WriteFile(path, busybox, 0o755); err != nil {
		return "", err
	}
	for _, applet := range []string{"echo", "mkdir", "nc", "sh", "timeout"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			return "", err
		}
	}
	if _, err := h.Run("chroot", root, "/bin/busybox", "true"); err != nil {
		return "", fmt.Errorf("no use for an image, is it static? %w", err)
	}
	return root, nil
}

// Answer is the command of a container that answers connections to a port with
// its name.
func Answer(name string, port int) []string {
	return []string{"/bin/nc", "-ll", "-p", fmt.Sprint(port), "-e", "/bin/echo", "-n", name}
}
