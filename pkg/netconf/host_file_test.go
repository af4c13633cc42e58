// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// strict is a valid file.
const strict = `{"defaults":{"ingressPolicy":"strict"}}`

// place is where a host's configuration is, or may be.
type place struct{ dir, path string }

func newPlace(t *testing.T) place {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cni-firewall")
	done(t, os.Mkdir(dir, 0o755))
	return place{dir, filepath.Join(dir, "config.json")}
}

func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p place) write(t *testing.T, path, content string) {
	t.Helper()
	done(t, os.WriteFile(path, []byte(content), 0o644))
}

func expectHostError(t *testing.T, err error, part string) {
	t.Helper()
	var e *HostError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want %q in it", err, part)
	}
}

// TestReadHost has files of all kinds in the place of the host's configuration: one that
// is read, none, and what is refused. None of them keeps the caller waiting.
func TestReadHost(t *testing.T) {
	const read, none = "read", "none"
	for name, c := range map[string]struct {
		make func(t *testing.T, p place)
		want string // read, none, or part of the error
	}{
		"a file":          {func(t *testing.T, p place) { p.write(t, p.path, strict) }, read},
		"for root alone":  {func(t *testing.T, p place) { p.write(t, p.path, strict); done(t, os.Chmod(p.path, 0o400)) }, read},
		"as large as may": {func(t *testing.T, p place) { p.write(t, p.path, strict+strings.Repeat(" ", maxHostFile-len(strict))) }, read},
		"nothing":         {func(*testing.T, place) {}, none},
		"no directory":    {func(t *testing.T, p place) { done(t, os.Remove(p.dir)) }, none},
		"a link to a file": {func(t *testing.T, p place) {
			p.write(t, p.path+".real", strict)
			done(t, os.Symlink("config.json.real", p.path))
		}, read},
		"a link to a directory": {func(t *testing.T, p place) {
			done(t, os.Rename(p.dir, p.dir+".real"))
			done(t, os.Symlink("cni-firewall.real", p.dir))
			p.write(t, p.path, strict)
		}, read},
		"a link to an empty directory": {func(t *testing.T, p place) {
			done(t, os.Rename(p.dir, p.dir+".real"))
			done(t, os.Symlink("cni-firewall.real", p.dir))
		}, none},

		"a link that leads nowhere": {func(t *testing.T, p place) { done(t, os.Symlink("gone", p.path)) }, "no such file"},
		"a directory that leads nowhere": {func(t *testing.T, p place) {
			done(t, os.Remove(p.dir))
			done(t, os.Symlink("gone", p.dir))
		}, "no such file"},
		"a link to itself": {func(t *testing.T, p place) { done(t, os.Symlink("config.json", p.path)) }, "too many levels"},
		"a directory":      {func(t *testing.T, p place) { done(t, os.Mkdir(p.path, 0o755)) }, "it is not a regular file"},
		"a pipe":           {func(t *testing.T, p place) { done(t, unix.Mkfifo(p.path, 0o644)) }, "it is not a regular file"},
		"a device":         {func(t *testing.T, p place) { done(t, os.Symlink("/dev/zero", p.path)) }, "it is not a regular file"},
		"a socket": {func(t *testing.T, p place) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			done(t, err)
			t.Cleanup(func() { _ = unix.Close(fd) })
			t.Chdir(p.dir) // the path may be too long for an address
			done(t, unix.Bind(fd, &unix.SockaddrUnix{Name: "config.json"}))
		}, "no such device"},
		"no directory above": {func(t *testing.T, p place) { done(t, os.Remove(p.dir)); p.write(t, p.dir, strict) }, "not a directory"},
		"too large":          {func(t *testing.T, p place) { p.write(t, p.path, strict+strings.Repeat(" ", maxHostFile)) }, "it is larger than 65536 bytes"},
		"ten megabytes":      {func(t *testing.T, p place) { p.write(t, p.path, strings.Repeat("[", 10<<20)) }, "it is larger than 65536 bytes"},
		"empty":              {func(t *testing.T, p place) { p.write(t, p.path, "") }, "it is empty"},
		"not valid":          {func(t *testing.T, p place) { p.write(t, p.path, `{"defaults":{"backend":"x"}}`) }, `defaults: backend "x" is unknown`},
		"others write": {func(t *testing.T, p place) { p.write(t, p.path, strict); done(t, os.Chmod(p.path, 0o646)) },
			"it has mode 0646 and others can write to it: it must be 0644"},
		"a group writes": {func(t *testing.T, p place) { p.write(t, p.path, strict); done(t, os.Chmod(p.path, 0o660)) },
			"it has mode 0660 and others can write to it: it must be 0644"},
		"others write to the directory": {func(t *testing.T, p place) { p.write(t, p.path, strict); done(t, os.Chmod(p.dir, 0o777|fs.ModeSticky)) },
			"/cni-firewall has mode 0777 and others can write to it: it must be 0755"},
		"others write to where a link leads": {func(t *testing.T, p place) {
			dir := filepath.Join(filepath.Dir(p.dir), "elsewhere")
			done(t, os.Mkdir(dir, 0o755))
			p.write(t, dir+"/config.json", strict)
			done(t, os.Symlink(dir+"/config.json", p.path))
			done(t, os.Chmod(dir, 0o775))
		}, "/elsewhere has mode 0775"},
		"others write to where a link is": {func(t *testing.T, p place) {
			dir := filepath.Join(filepath.Dir(p.dir), "elsewhere")
			done(t, os.Mkdir(dir, 0o755))
			p.write(t, dir+"/config.json", strict)
			done(t, os.Symlink(dir+"/config.json", p.path))
			done(t, os.Chmod(p.dir, 0o775))
		}, "/cni-firewall has mode 0775"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			c.make(t, p)
			h, found, err := ReadHost(p.path)
			got := none
			switch {
			case err != nil:
				got = c.want
				expectHostError(t, err, c.want)
				expectHostError(t, err, "reading the host's configuration "+p.path+": ")
			case found:
				got = read
			}
			if got != c.want || (len(h.Entries()) > 0) != (got == read) || found != (got != none) {
				t.Errorf("got %q, %t, %q, %v; want %q", got, found, describe(h), err, c.want)
			}
		})
	}
}

// TestReadHostForbidden has a file that its reader may not read.
func TestReadHostForbidden(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(t, p.path, strict)
	done(t, os.Chmod(p.path, 0))
	if os.Geteuid() == 0 { // who may read it: integration has others read root's
		_, found, err := ReadHost(p.path)
		if !found || err != nil {
			t.Errorf("root: %t, %v", found, err)
		}
		return
	}
	_, found, err := ReadHost(p.path)
	expectHostError(t, err, "permission denied")
	if !found {
		t.Error("it is taken for none")
	}
}

// TestReadDraft reads a file wherever it is.
func TestReadDraft(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(t, p.path, strict)
	done(t, os.Chmod(p.path, 0o666))
	done(t, os.Chmod(p.dir, 0o777))
	h, err := ReadDraft(p.path)
	if describe(h) != "defaults: ingressPolicy=strict" || err != nil {
		t.Errorf("got %s, %v", describe(h), err)
	}
	p.write(t, p.path, strict+"x")
	_, err = ReadDraft(p.path)
	expectHostError(t, err, "after top-level value")
	done(t, os.Remove(p.path))
	_, err = ReadDraft(p.path)
	expectHostError(t, err, "no such file")
	done(t, unix.Mkfifo(p.path, 0o600))
	_, err = ReadDraft(p.path)
	expectHostError(t, err, "not a regular file")
}

// TestIsTrusted has owners of files. The machine's own nobody is somebody.
func TestIsTrusted(t *testing.T) {
	t.Parallel()
	for owner, want := range map[int]bool{
		0: true, os.Geteuid(): true, os.Geteuid() + 1: false, overflowUID: inUserNamespace(),
	} {
		if got := isTrusted(owner); got != want {
			t.Errorf("user %d: got %t", owner, got)
		}
	}
	if isAbsent("/nowhere/at/all", errors.New("another error")) || !isAbsent("/nowhere/at/all", fs.ErrNotExist) {
		t.Error("nowhere is somewhere")
	}
}

// BenchmarkReadHost measures what a call pays for a file of a few networks, and for none.
func BenchmarkReadHost(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "config.json")
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			if _, found, err := ReadHost(path); found || err != nil {
				b.Fatal(err)
			}
		}
	})
	content := `{"defaults":{"ingressPolicy":"strict","publishedPorts":"deny"},"networks":{"dev-*":{"ingressPolicy":"same-bridge"},
		"db":{"ingressPolicy":"isolated-strict"},"web":{"publishedPorts":"allow"}}}`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("file", func(b *testing.B) {
		for b.Loop() {
			if _, found, err := ReadHost(path); !found || err != nil {
				b.Fatal(err)
			}
		}
	})
}
