// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// output is where the demo prints to, in colours or not.
type output struct {
	io.Writer
	coloured bool
}

// stdout is coloured on a terminal, unless NO_COLOR (no-color.org) is set.
func stdout() output {
	_, err := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	return output{os.Stdout, err == nil && os.Getenv("NO_COLOR") == ""}
}

func (o output) print(format string, args ...any) { _, _ = fmt.Fprintf(o, format, args...) }

func (o output) heading(text string) { o.print("\n%s\n\n", o.paint("1", text)) }

// The paints, for cells and lines.
func (o output) plain(text string) string { return text }
func (o output) good(text string) string  { return o.paint("32", text) }
func (o output) quiet(text string) string { return o.paint("36", text) }
func (o output) loud(text string) string  { return o.paint("1;37;41", text) }

func (o output) paint(code, text string) string {
	if !o.coloured || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// cell is one of a grid, and how it is painted.
type cell struct {
	text  string
	paint func(string) string
}

// grid prints cells in columns as wide as their widest.
func (o output) grid(rows [][]cell) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], len(c.text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			// Padded by hand: to a format's width the colours would count.
			line.WriteString(c.paint(c.text) + strings.Repeat(" ", width[i]-len(c.text)+2))
		}
		o.print("%s\n", strings.TrimRight(line.String(), " "))
	}
}
