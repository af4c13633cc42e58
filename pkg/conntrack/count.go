// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Where the kernel says how many connections a network namespace has. Old kernels (5.10)
// hide the sysctl in the namespaces of rootless runtimes, whose user namespace is not
// the first one. They hide no statistics; a kernel may be built without.
const (
	countFile      = "/proc/sys/net/netfilter/nf_conntrack_count"
	statisticsFile = "/proc/thread-self/net/stat/nf_conntrack"
)

// tracked returns the number of connections in this network namespace; 0 if the kernel
// tracks none.
func tracked() (int, error) { return trackedIn(countFile, statisticsFile) }

func trackedIn(countFile, statisticsFile string) (int, error) {
	count, err := numberIn(countFile, 0, 10)
	if errors.Is(err, fs.ErrNotExist) {
		count, err = numberIn(statisticsFile, 1, 16) // after a line of headings
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("counting connections: %w", err)
	}
	return count, nil
}

// numberIn returns the number that a line of a file begins with.
func numberIn(path string, line, base int) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(string(text), "\n")
	if line >= len(lines) {
		return 0, fmt.Errorf("%s has only %d lines", path, len(lines))
	}
	word, _, _ := strings.Cut(lines[line], " ")
	number, err := strconv.ParseUint(word, base, 31)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return int(number), nil
}
