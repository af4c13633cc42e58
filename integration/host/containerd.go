// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"os"
	"os/exec"
)

const containerdConf = `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[plugins."io.containerd.internal.v1.restart"]
  interval = "1s"
`

// Containerd starts the daemon, and waits until it answers.
func (h *Host) Containerd() (*exec.Cmd, error) {
	if err := os.MkdirAll("/etc/containerd", 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile("/etc/containerd/config.toml", []byte(containerdConf), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create("/run/containerd.log")
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	daemon := exec.Command("containerd")
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	if err := Await(func() error {
		_, err := h.Run("ctr", "--connect-timeout", "1s", "version")
		return err
	}); err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("containerd does not answer: %w: %s", err, said)
	}
	return daemon, nil
}
