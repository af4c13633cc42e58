// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// progress is a bar on a terminal's last line. Where standard error is none, it
// is nothing.
type progress struct {
	shown       bool
	done, total int
	what        string
}

func newProgress(total int) *progress {
	_, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS)
	return &progress{shown: err == nil, total: total}
}

// step counts one of the steps.
func (p *progress) step() {
	p.done++
	p.draw()
}

// say tells what is being done.
func (p *progress) say(format string, args ...any) {
	p.what = fmt.Sprintf(format, args...)
	p.draw()
}

func (p *progress) draw() {
	if !p.shown {
		return
	}
	const width = 30
	filled := min(width, width*p.done/max(1, p.total))
	fmt.Fprintf(os.Stderr, "\r\x1b[K[%s%s] %3d %%  %s", strings.Repeat("#", filled), strings.Repeat(".", width-filled),
		100*p.done/max(1, p.total), p.what)
}

// clear takes the bar away.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}
