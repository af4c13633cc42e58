// SPDX-License-Identifier: Apache-2.0

// Standin stands in the place of a plugin, which is beside it with ".real" behind its
// name. It runs that and writes a line to a file with ".calls" behind its name: the
// verb, the nanoseconds from the plugin's start to its exit, those of the processor,
// and the exit code.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

func main() {
	code, err := stand(os.Args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "standing in for a plugin: %v\n", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func stand(plugin string) (code int, err error) {
	begin := time.Now()
	pid, err := syscall.ForkExec(plugin+".real", os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, err
	}
	var status syscall.WaitStatus
	var usage syscall.Rusage
	if _, err := syscall.Wait4(pid, &status, 0, &usage); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	calls, err := os.OpenFile(plugin+".calls", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	verb := os.Getenv("CNI_COMMAND")
	if verb == "" {
		verb = "none"
	}
	// One write, so that lines of calls at the same time do not mix.
	_, err = fmt.Fprintf(calls, "%s %d %d %d\n", verb, took, usage.Utime.Nano()+usage.Stime.Nano(), status.ExitStatus())
	if closeErr := calls.Close(); err == nil {
		err = closeErr
	}
	return status.ExitStatus(), err
}
