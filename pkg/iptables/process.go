// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that runs once. Its standard streams are files in memory, so
// that no goroutine has to serve pipes. A call of the plugin is mostly the start of
// such programs; os/exec would start one more process, to learn about pidfds, and
// three goroutines for each program.
type process struct {
	stdin, stdout, stderr *os.File

	mu    sync.Mutex
	pid   int  // 0 once reaped: the number may be another process's
	ended bool // killed by us, because it hung
}

// outcome is how a program ended and what it wrote.
type outcome struct {
	stdout, stderr string
	status         syscall.WaitStatus
	hung           bool
}

// start starts a program, with a standard input.
func start(stdin, path string, args ...string) (*process, error) {
	p := &process{}
	for _, file := range []**os.File{&p.stdin, &p.stdout, &p.stderr} {
		var err error
		if *file, err = memoryFile(path); err != nil {
			p.close()
			return nil, err
		}
	}
	if err := p.exec(stdin, path, args); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *process) exec(stdin, path string, args []string) error {
	if _, err := p.stdin.WriteString(stdin); err != nil {
		return err
	}
	if _, err := p.stdin.Seek(0, 0); err != nil {
		return err
	}
	var err error
	p.pid, err = syscall.ForkExec(path, append([]string{path}, args...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{p.stdin.Fd(), p.stdout.Fd(), p.stderr.Fd()},
		// A program that hangs must not outlive the plugin: it would keep the lock.
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	return err
}

// memoryFile returns a file in memory. MFD_NOEXEC_SEAL says that nothing in it is
// executed. Kernels since 6.3 warn without it; earlier ones refuse it.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// wait waits until the program has ended, and kills it after the limit.
func (p *process) wait(limit time.Duration) (outcome, error) {
	defer p.close()
	late := time.AfterFunc(limit, p.kill)
	defer late.Stop()
	// WNOWAIT: until reap sets pid to 0, kill must not hit another process.
	err := again(func() error { return unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) })
	if err != nil {
		return outcome{}, err
	}
	o, err := p.reap()
	if err != nil {
		return o, err
	}
	if o.stdout, err = content(p.stdout); err != nil {
		return o, err
	}
	o.stderr, err = content(p.stderr)
	return o, err
}

func (p *process) reap() (o outcome, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err = again(func() error {
		_, err := syscall.Wait4(p.pid, &o.status, 0, nil)
		return err
	})
	p.pid, o.hung = 0, p.ended
	return o, err
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 {
		p.ended = true
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

func (p *process) close() {
	for _, file := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if file != nil {
			_ = file.Close()
		}
	}
}

// content returns what a program wrote to a file.
func content(file *os.File) (string, error) {
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	text := make([]byte, info.Size())
	n, err := file.ReadAt(text, 0)
	return string(text[:n]), err
}

// again repeats a call that a signal interrupts. The Go runtime sends signals to its
// own threads.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
