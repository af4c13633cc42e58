// SPDX-License-Identifier: Apache-2.0

package host

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// Archive returns the path of an archive of the image, as "docker save" writes one.
func (h *Host) Archive(image, name string) (string, error) {
	const dir = "/run/archive"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	layer := filepath.Join(dir, "layer.tar")
	if _, err := h.Run("tar", "-C", image, "-cf", layer, "."); err != nil {
		return "", err
	}
	content, err := os.ReadFile(layer)
	if err != nil {
		return "", err
	}
	config := fmt.Sprintf(`{"architecture": %q, "os": "linux", "config": {"Env": ["PATH=/bin"]},
  "rootfs": {"type": "layers", "diff_ids": ["sha256:%x"]}}`, runtime.GOARCH, sha256.Sum256(content))
	manifest := fmt.Sprintf(`[{"Config": "config.json", "RepoTags": [%q], "Layers": ["layer.tar"]}]`, name)
	for file, text := range map[string]string{"config.json": config, "manifest.json": manifest} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	archive := image + ".docker.tar"
	_, err = h.Run("tar", "-C", dir, "-cf", archive, "manifest.json", "config.json", "layer.tar")
	return archive, err
}

// Answer is the command of a container that answers connections to a port with
// its name.
func Answer(name string, port int) []string {
	return []string{"/bin/nc", "-ll", "-p", fmt.Sprint(port), "-e", "/bin/echo", "-n", name}
}
