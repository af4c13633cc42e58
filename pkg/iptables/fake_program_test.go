// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The test binary stands in for iptables under its names. Each program keeps its
// table in a file of the directory that fakeDirectory names, and has the fault that
// another file there names.
const fakeDirectory = "FAKE_IPTABLES"

func TestMain(m *testing.M) {
	if program := filepath.Base(os.Args[0]); strings.Contains(program, "tables") && os.Getenv(fakeDirectory) != "" {
		os.Exit(fakeProgram(os.Getenv(fakeDirectory), program))
	}
	UsualDirectories = nil
	os.Exit(m.Run())
}

func fakeProgram(dir, program string) int {
	logCall(dir, program)
	family := strings.TrimSuffix(program, "-restore")
	fault, _ := os.ReadFile(filepath.Join(dir, "fault-"+program))
	stdin, _ := io.ReadAll(os.Stdin)
	switch f := string(fault); {
	case f == "garbage":
		fmt.Println("Segmentation fault")
		return 0
	case f == "locked":
		fmt.Fprintln(os.Stderr, "Another app is currently holding the xtables lock.")
		return 4
	case strings.HasPrefix(f, "fail"):
		fmt.Fprintln(os.Stderr, "no memory")
		return 3
	case strings.HasPrefix(f, "meanwhile "): // another program is quicker, once
		_ = os.Remove(filepath.Join(dir, "fault-"+program))
		edit(dir, family, func(t *fakeTable) error { return t.command(strings.TrimPrefix(f, "meanwhile ")) })
	case strings.HasPrefix(f, "toggle "):
		edit(dir, family, func(t *fakeTable) error { return t.toggle(strings.TrimPrefix(f, "toggle ")) })
	}
	code := 0
	edit(dir, family, func(t *fakeTable) error {
		if !strings.HasSuffix(program, "-restore") {
			fmt.Print(t.list())
			return nil
		}
		err := t.restore(string(stdin))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return err
	})
	if string(fault) == "work, then fail" {
		return 3
	}
	return code
}

func logCall(dir, program string) {
	log, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = fmt.Fprintln(log, program)
		_ = log.Close()
	}
}

func edit(dir, family string, do func(*fakeTable) error) {
	path := filepath.Join(dir, family)
	listing, _ := os.ReadFile(path)
	t := newFakeTable(string(listing))
	if do(t) == nil {
		_ = os.WriteFile(path, []byte(t.list()), 0o600)
	}
}

// fake is a directory of programs that stand in for iptables. PATH has no others.
type fake struct {
	t   *testing.T
	dir string
}

func newFake(t *testing.T, programs ...string) *fake {
	t.Helper()
	f := &fake{t, t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(f.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if err := os.Symlink(self, filepath.Join(bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	t.Setenv(fakeDirectory, f.dir)
	return f
}

func newFakeDual(t *testing.T) *fake {
	t.Helper()
	return newFake(t, "iptables", "iptables-restore", "ip6tables", "ip6tables-restore")
}

func (f *fake) write(file, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, file), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) fault(program, what string) { f.write("fault-"+program, what) }

func (f *fake) repair(program string) { _ = os.Remove(filepath.Join(f.dir, "fault-"+program)) }

// listing returns the table of a family.
func (f *fake) listing(family string) string {
	text, _ := os.ReadFile(filepath.Join(f.dir, family))
	return newFakeTable(string(text)).list()
}

// calls returns the programs that were started, sorted, and forgets them.
func (f *fake) calls() []string {
	path := filepath.Join(f.dir, "calls")
	text, _ := os.ReadFile(path)
	_ = os.Remove(path)
	list := strings.Fields(string(text))
	slices.Sort(list)
	return list
}
