// SPDX-License-Identifier: Apache-2.0

// Package host makes throw-away hosts: a process in network, mount and PID
// namespaces of its own, where bridges, rules and sysctls are the test's and go
// with it. Nothing of the machine's own network is touched. Containers are
// network namespaces that real CNI plugins, called through libcni, attach to
// real bridges.
package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// insideVariable is set, to the name of what runs there, in a process that is a
// throw-away host.
const insideVariable = "FIREWALL_THROW_AWAY_HOST"

// cgroupVariable names the control group of its containers.
const cgroupVariable = "FIREWALL_THROW_AWAY_CGROUP"

// hosts counts those that this process has started.
var hosts atomic.Int64

// Test runs body as a test on a throw-away host of its own. The test binary
// starts itself again in new namespaces and there runs just this test.
func Test(t *testing.T, body func(t *testing.T, h *Host)) {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		h, err := setUp()
		if err != nil {
			t.Fatal(err)
		}
		body(t, h)
		return
	}
	if os.Getuid() != 0 {
		t.Fatal("a throw-away host needs root: sudo make test")
	}
	t.Parallel()
	cmd := testAgain(t, t.Name())
	cgroup := equip(cmd)
	defer func() {
		if err := removeCgroups(cgroup); err != nil {
			t.Errorf("removing control groups: %v", err)
		}
	}()
	pass(t, cmd)
}

// equip names the control group of a host's containers, which does not go with the host.
func equip(cmd *exec.Cmd) (cgroup string) {
	cgroup = fmt.Sprintf("firewall-test-%d-%d", os.Getpid(), hosts.Add(1))
	// The host's own /run is in memory, and goes with it.
	cmd.Env = append(cmd.Env, cgroupVariable+"="+cgroup, "TMPDIR=/run")
	return cgroup
}

// testAgain returns the command that runs this test again in new namespaces.
func testAgain(t *testing.T, inside string) *exec.Cmd {
	timeout := 30 * time.Minute // for what hangs: a busy machine takes its time
	return again(inside, "-test.run="+exactly(t.Name()), "-test.v", "-test.timeout="+timeout.String())
}

// pass fails the test unless it passes in the process of a command.
func pass(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	start := time.Now()
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("starting the throw-away host: %v", err)
	}
	cost := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("took %s, and %s of a processor", time.Since(start).Round(time.Millisecond), cost)
	if err != nil || testing.Verbose() {
		t.Logf("on the throw-away host:\n%s", output)
	}
	if err != nil {
		t.Fatalf("on the throw-away host: %v", err)
	}
	if !strings.Contains(string(output), "--- PASS: "+t.Name()) {
		t.Fatalf("on the throw-away host the test did not run:\n%s", output)
	}
}

// exactly returns the pattern that selects one test by its full name.
func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	return strings.Join(parts, "/")
}

// Enter makes the calling program a throw-away host. It returns in a new process
// with the same arguments; the first one waits for it, ends with its exit code
// and never returns from Enter.
func Enter() (*Host, error) {
	if os.Getenv(insideVariable) != "" {
		return setUp()
	}
	if os.Getuid() != 0 {
		return nil, errors.New("a throw-away host needs root: use sudo")
	}
	cmd := again("main", os.Args[1:]...)
	cgroup := equip(cmd)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	if err := removeCgroups(cgroup); err != nil {
		return nil, fmt.Errorf("removing control groups: %w", err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return nil, nil
}

// again returns the command that starts this program in new namespaces. The
// kernel ends it, and with it all it started, when this process ends.
func again(name string, args ...string) *exec.Cmd {
	runtime.LockOSThread() // Pdeathsig is the thread's
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), insideVariable+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	return cmd
}

// setUp gives the new namespaces what a host has.
func setUp() (*Host, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0}, // records, locks and named namespaces
		{"/sys/fs", "/run", "", unix.MS_BIND | unix.MS_REC},
		{"sysfs", "/sys", "sysfs", 0}, // shows the links of this network namespace
		// Control groups, without which no runtime starts a container, are no part of it.
		{"/run/cgroup", "/sys/fs/cgroup", "", unix.MS_BIND | unix.MS_REC},
	}
	for _, m := range mounts {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return nil, fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	if err := unix.Unmount("/run", unix.MNT_DETACH); err != nil {
		return nil, fmt.Errorf("unmounting what control groups were kept in: %w", err)
	}
	h := &Host{
		root:     root,
		Firewall: filepath.Join(root, "bin", "firewall"),
		Cgroup:   os.Getenv(cgroupVariable),
	}
	for _, sysctl := range []string{
		"net/ipv4/ip_forward=1",
		"net/ipv6/conf/all/forwarding=1",
		"net/ipv6/conf/default/accept_dad=0", // or every address waits a second
	} {
		if err := h.Sysctl(sysctl); err != nil {
			return nil, err
		}
	}
	_, err = h.Run("ip", "link", "set", "lo", "up")
	return h, err
}

// repository returns the directory of go.mod, above the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("not in the repository: no go.mod above the working directory")
}
