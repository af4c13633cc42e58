// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ordinaryUser is the number of a user and a group who may do nothing. They need not have
// names.
const ordinaryUser = 1000

// userRepository is where an ordinary user finds the repository, which may be in the home
// of another one.
const userRepository = "/mnt"

// Rootless runs body as a test on a host of an ordinary user, as rootless container
// engines make it: in a user namespace whose root is this user outside. A throw-away host
// runs the test as the user, and the user makes the namespaces.
func Rootless(t *testing.T, body func(t *testing.T, h *Host)) {
	t.Helper()
	ofUser := t.Name() + " of a user"
	switch {
	case os.Getenv(insideVariable) != ofUser:
		Test(t, func(t *testing.T, h *Host) {
			cmd, err := h.asUser(testAgain(t, ofUser))
			if err != nil {
				t.Fatal(err)
			}
			pass(t, cmd)
		})
	case os.Getuid() != 0:
		pass(t, inUserNamespace(testAgain(t, ofUser)))
	default:
		h, err := setUp()
		if err != nil {
			t.Fatal(err)
		}
		body(t, h)
	}
}

// asUser has the ordinary user run a command on this host, in the same directory of the
// repository. What hosts share is root's.
func (h *Host) asUser(cmd *exec.Cmd) (*exec.Cmd, error) {
	if err := h.showUser(); err != nil {
		return nil, fmt.Errorf("mounting the repository for a user: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	within, err := filepath.Rel(h.root, dir)
	if err != nil {
		return nil, err
	}
	cmd.Dir = filepath.Join(userRepository, within)
	cmd.Env = append(cmd.Env, ForwardsVariable+"=/run", "PWD="+cmd.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser},
		Pdeathsig:  unix.SIGKILL,
	}
	return cmd, nil
}

// showUser mounts what the repository has where the user may go, which is not so in every
// directory that root has checked it out to.
func (h *Host) showUser() error {
	if err := unix.Mount("tmpfs", userRepository, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	entries, err := os.ReadDir(h.root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		target := filepath.Join(userRepository, e.Name())
		if e.IsDir() {
			err = os.Mkdir(target, 0o755)
		} else {
			err = os.WriteFile(target, nil, 0o644)
		}
		if err == nil {
			err = unix.Mount(filepath.Join(h.root, e.Name()), target, "", unix.MS_BIND, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inUserNamespace makes this process's user root of a command's namespaces. A user may give
// them no other users.
func inUserNamespace(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	return cmd
}
