// SPDX-License-Identifier: Apache-2.0

// Bare is the least that a Go program can be: it says hello, to measure what
// starting one costs. With arguments it runs those as a program and writes the
// peak memory of that, in KiB, to file descriptor 3. A program that is started
// by a large one has at least that one's peak (fs/exec.c takes over the one of
// the memory that is replaced), so that a small one must do it.
package main

import (
	"os"
	"strconv"
	"syscall"
)

func main() {
	if len(os.Args) == 1 {
		_, _ = syscall.Write(1, []byte("hello\n"))
		return
	}
	pid, err := syscall.ForkExec(os.Args[1], os.Args[1:], &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		_, _ = syscall.Write(2, []byte(err.Error()+"\n"))
		os.Exit(1)
	}
	var status syscall.WaitStatus
	var usage syscall.Rusage
	if _, err := syscall.Wait4(pid, &status, 0, &usage); err != nil || !status.Exited() {
		os.Exit(1)
	}
	_, _ = syscall.Write(3, []byte(strconv.FormatInt(usage.Maxrss, 10)))
	os.Exit(status.ExitStatus())
}
