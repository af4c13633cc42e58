// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// program is a process that is to be measured.
type program struct {
	path  string
	args  []string
	env   []string
	stdin []byte
}

// cost is what running a program took.
type cost struct {
	Wall time.Duration // from its start to its exit
	CPU  time.Duration // of it and of what it started, in user and kernel mode
}

// run runs the program.
func (p program) run() (cost, error) {
	took, _, err := p.start(nil)
	return took, err
}

// start runs the program, with a further file for descriptor 3.
func (p program) start(extra *os.File) (took cost, output string, err error) {
	in, err := memoryFile(p.stdin)
	if err != nil {
		return took, "", err
	}
	defer func() { _ = in.Close() }()
	out, err := memoryFile(nil)
	if err != nil {
		return took, "", err
	}
	defer func() { _ = out.Close() }()
	files := []*os.File{in, out, out}
	if extra != nil {
		files = append(files, extra)
	}
	begin := time.Now()
	process, err := os.StartProcess(p.path, append([]string{p.path}, p.args...), &os.ProcAttr{Env: p.env, Files: files})
	if err != nil {
		return took, "", err
	}
	state, err := process.Wait()
	took.Wall = time.Since(begin)
	if err != nil {
		return took, "", err
	}
	took.CPU = state.UserTime() + state.SystemTime()
	text, err := io.ReadAll(io.NewSectionReader(out, 0, math.MaxInt64))
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s %s: %s: %s", p.path, strings.Join(p.args, " "), state, text)
	}
	return took, string(text), err
}

// memoryFile returns a file that is nowhere, to read from its beginning. Neither
// reading nor writing one waits for anybody.
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "bench")
	if _, err := f.WriteAt(content, 0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// peak runs the program and returns the peak memory, in KiB, of it or of a
// program that it started.
func (p program) peak(bare string) (int64, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = read.Close() }()
	p.args = append([]string{p.path}, p.args...)
	p.path = bare
	_, _, err = p.start(write)
	if closeErr := write.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(read)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(text), 10, 64)
}
