// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Bounds of one program. Its wait for the xtables lock, which only iptables-legacy has,
// ends earlier than programTimeout and with a better message.
const (
	programTimeout = 40 * time.Second
	lockTimeout    = "30" // seconds

	// A table of 100,000 rules is a fifth of this.
	maxOutput = 64 << 20 // bytes

	// What a program leaves running may keep its pipes open. This is how long the plugin
	// reads on. On a busy machine it may itself get no processor for a second or two.
	drainTimeout = 10 * time.Second
)

// Reasons why the plugin ends a program.
var (
	errHung    = errors.New("it hung and was killed")
	errEndless = fmt.Errorf("it wrote more than %d MiB and was killed", maxOutput>>20)
)

// run runs a program and returns what it wrote to standard output.
//
// Its standard streams are pipes, also where it reads nothing. SELinux lets iptables
// (iptables_t) use the pipes of a container runtime, and no file of its.
func run(stdin, program string, args ...string) (string, error) {
	return runWithin(programTimeout, stdin, program, args...)
}

func runWithin(limit time.Duration, stdin, program string, args ...string) (string, error) {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	late := time.AfterFunc(limit, func() { end(fmt.Errorf("%w after %s", errHung, limit)) })
	defer late.Stop()
	full := func() { end(errEndless) }
	stdout, stderr := output{full: full}, output{full: full}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	endWithPlugin(cmd)
	err := cmd.Run()
	if err != nil && cmd.Process != nil {
		_ = cmd.Cancel() // what it left behind
	}
	if err != nil {
		return "", failure(program, context.Cause(ctx), err, stderr.String())
	}
	return stdout.String(), nil
}

// endWithPlugin makes a program end when its context does, or the plugin: what hangs
// would keep the locks. A program may be a script that waits for another one. So it has a
// process group, which ends as a whole.
func endWithPlugin(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = drainTimeout
}

// output keeps what a program writes, up to maxOutput.
type output struct {
	strings.Builder

	full func()
}

// Write calls full instead of keeping too much.
func (o *output) Write(b []byte) (int, error) {
	if o.Len()+len(b) > maxOutput {
		o.full()
		return 0, errEndless
	}
	return o.Builder.Write(b)
}
