// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// programs are the paths of the two programs of one family.
type programs struct {
	list, restore string
}

// UsualDirectories are searched after PATH: that of a runtime may lack sbin. Tests of a
// host without iptables empty the list.
var UsualDirectories = []string{"/usr/sbin", "/sbin", "/usr/local/sbin"}

// look returns the path of a program.
func look(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range UsualDirectories {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// programNames are searched for in PATH, and then in the usual directories.
var programNames = map[policy.Family]programs{
	policy.IPv4: {"iptables", "iptables-restore"},
	policy.IPv6: {"ip6tables", "ip6tables-restore"},
}

// findPrograms returns the programs of a family. It looks for the restore program in
// the directory of the list program first. If one were the legacy variant and the
// other not, they would work on different tables: a rule that was written would
// never be listed.
func findPrograms(f policy.Family) (programs, error) {
	list, err := look(programNames[f].list)
	if err != nil {
		return programs{}, notInstalled(programNames[f].list, f)
	}
	restore := filepath.Join(filepath.Dir(list), programNames[f].restore)
	if _, err := exec.LookPath(restore); err == nil {
		return programs{list, restore}, nil
	}
	if restore, err = look(programNames[f].restore); err != nil {
		return programs{}, notInstalled(programNames[f].restore, f)
	}
	if variant(list) != variant(restore) {
		return programs{}, fmt.Errorf("%s is %s and %s is %s: they work on different tables",
			list, variant(list), restore, variant(restore))
	}
	return programs{list, restore}, nil
}

func notInstalled(name string, f policy.Family) error {
	return fmt.Errorf("%s, which %s addresses need, is %w: PATH has none, nor has an sbin directory", name, f, ErrNotInstalled)
}

// variant returns the name of the file that a path leads to. Most distributions have
// xtables-nft-multi and xtables-legacy-multi.
func variant(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return filepath.Base(path)
}

// isVariant reports whether the name of the file that a path leads to tells of a variant,
// "nft" or "legacy". A script that stands in for a program may tell of none.
func isVariant(path, word string) bool { return strings.Contains(variant(path), word) }

// silent is the reason where a listing is empty, which no filter table is.
const silent = "it listed nothing: SELinux may keep it from writing to the plugin " +
	`("ausearch -m avc -c iptables" tells), or it is another program`

// read returns the filter table.
func (p programs) read() (*table, error) {
	output, err := run("", p.list, "--wait", lockTimeout, "-S")
	if err != nil {
		return nil, err
	}
	if output == "" {
		return nil, &Error{Program: p.list, Reason: silent}
	}
	return parseTable(output)
}

// write carries a plan out, all of it or nothing.
func (p programs) write(plan plan) error {
	script := plan.script()
	_, err := run(script, p.restore, "--noflush", "--wait", lockTimeout)
	if failed := (*Error)(nil); errors.As(err, &failed) {
		failed.Reason += explain(failed.Reason, script)
	}
	return err
}

// explain returns the text of the line that the program names by number.
func explain(reason, script string) string {
	var n int
	if _, after, ok := strings.Cut(reason, "line "); ok {
		_, _ = fmt.Sscanf(after, "%d", &n) // all that iptables-legacy says of it
	}
	if lines := strings.Split(script, "\n"); 0 < n && n <= len(lines) {
		return fmt.Sprintf(" (line %d is %q)", n, lines[n-1])
	}
	return ""
}
