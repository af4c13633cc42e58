// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// programs are those that the plugin starts.
var programs = []string{"iptables", "iptables-restore", "ip6tables", "ip6tables-restore"}

// pathOf returns a directory, for PATH, with no programs but those named, of the
// variant in use.
func pathOf(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range programs {
		ok(t, os.Symlink(must(exec.LookPath(name))(t), filepath.Join(dir, name)))
	}
	return dir
}

// fault is what becomes of calls of one program.
type fault struct {
	program     string
	first, last int // calls that it befalls, counted from 1
	kind        string
}

func (f fault) String() string {
	return fmt.Sprintf("%s of %s, calls %d to %d", f.kind, f.program, f.first, f.last)
}

// alone waits until the other family's program, which is started at the same time,
// has ended, so that it writes nothing later.
const alone = `sleep 0.3; while [ "$(cat /proc/$PPID/task/*/children | wc -w)" -gt 1 ]; do sleep 0.01; done; `

// faults are the kinds, as the shell says them; $real is the program's own path.
var faults = map[string]string{
	"failure":              `cat >/dev/null; echo "told to fail" >&2; exit 1`,
	"locked table":         `cat >/dev/null; echo "Another app is currently holding the xtables lock." >&2; exit 4`,
	"garbage":              `"$real" "$@"; echo "iptables: everything is fine"; exit 0`,
	"open quotes":          `"$real" "$@"; echo "-A FORWARD -m comment --comment \"to be continued"; exit 0`,
	"work, then fail":      `"$real" "$@"; echo "told to fail afterwards" >&2; exit 1`,
	"silence":              `exit 0`, // as where iptables is a link to /bin/true
	"crash":                `kill -SEGV $$`,
	"overtaken":            `sh -ec "$OVERTAKE"`, // by somebody else, who runs $list
	"work, then overtaken": `"$real" "$@"; exec sh -ec "$OVERTAKE"`,
	"killing":              alone + `kill -KILL $PPID; exit 1`,
	"work, then killing":   `"$real" "$@"; ` + alone + `kill -KILL $PPID; exit 1`,
	"hanging":              `exec sleep 1000`,
	"work, then hang":      `"$real" "$@"; exec sleep 1000`,
}

// shims is a directory, for PATH, of programs that take note of each call, and
// that the fault befalls.
type shims string

// calls is the file with the name of each program that was started.
func (s shims) calls() string { return filepath.Join(string(s), "calls") }

func newShims(t *testing.T, f fault) shims {
	t.Helper()
	s := shims(t.TempDir())
	for _, name := range programs {
		what := ":"
		if name == f.program {
			what = fmt.Sprintf("if [ $n -ge %d ] && [ $n -le %d ]; then %s; fi", f.first, f.last, faults[f.kind])
		}
		script := fmt.Sprintf(`PATH=%s
real=%s
export list=${real%%-restore}
echo %[3]s >> %[4]s
n=0
while read -r name; do [ "$name" != %[3]s ] || n=$((n + 1)); done < %[4]s
%[5]s
exec "$real" "$@"
`, os.Getenv("PATH"), must(exec.LookPath(name))(t), name, s.calls(), what)
		ok(t, host.WriteScript(filepath.Join(string(s), name), script))
	}
	return s
}

// named gives the programs names that tell the variant which they stand for, as the links
// of a host do.
func (s shims) named(t *testing.T) shims {
	t.Helper()
	for _, name := range programs {
		real := must(filepath.EvalSymlinks(must(exec.LookPath(name))(t)))(t)
		shim := filepath.Join(string(s), name)
		ok(t, os.Rename(shim, shim+"."+filepath.Base(real)))
		ok(t, os.Symlink(shim+"."+filepath.Base(real), shim))
	}
	return s
}

// count returns how often each program was started.
func (s shims) count(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(s.calls())
	if !errors.Is(err, fs.ErrNotExist) {
		ok(t, err)
	}
	n := map[string]int{}
	for _, name := range strings.Fields(string(text)) {
		n[name]++
	}
	return n
}
