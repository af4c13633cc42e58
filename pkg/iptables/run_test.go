// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFailure wants an error to say how a program ended, and its kind to be told by what
// it wrote: exit status 4 is many things.
func TestFailure(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script, says string
		kind         error
	}{
		"success":   {"echo done", "", nil},
		"warning":   {"echo missing kernel module >&2", "", nil},
		"failure":   {"echo one >&2; echo two >&2; exit 2", "exit status 2: one; two", nil},
		"signal":    {"kill -SEGV $$", "signal: segmentation fault", nil},
		"hang":      {"exec sleep 60", "it hung and was killed after 1s", nil},
		"child":     {"sleep 60 & wait", "it hung and was killed after 1s", nil},
		"left over": {"sleep 60 &", "it ended, and left a process behind that keeps its output open", nil},
		"endless":   {"exec cat /dev/zero", "it wrote more than 64 MiB and was killed", nil},
		"endless, and deaf": {
			"trap '' PIPE; while :; do cat /dev/zero; done", "it wrote more than 64 MiB and was killed", nil,
		},
		"endless errors": {"exec cat /dev/zero >&2", "it wrote more than 64 MiB and was killed", nil},
		"lock, 1.8.7": {
			fails(4, "Another app is currently holding the xtables lock. Perhaps you want to use the -w option?"),
			"exit status 4: Another app is currently holding the xtables lock. Perhaps you want to use the -w option?", ErrLocked,
		},
		"lock, 1.8.9": {
			fails(4, "Another app is currently holding the xtables lock. Stopped waiting after 30s."),
			"exit status 4: Another app is currently holding the xtables lock. Stopped waiting after 30s.", ErrLocked,
		},
		"lock file": {
			fails(4, "Fatal: can't open lock file /run/xtables.lock: Permission denied"),
			"exit status 4: Fatal: can't open lock file /run/xtables.lock: Permission denied", nil,
		},
		"no rights": {
			fails(4, "Could not fetch rule set generation id: Permission denied (you must be root)"),
			"exit status 4: Could not fetch rule set generation id: Permission denied (you must be root)", nil,
		},
		"no descriptors": {
			fails(4, "Could not fetch rule set generation id: Too many open files"),
			"exit status 4: Could not fetch rule set generation id: Too many open files", nil,
		},
		"no nf_tables": {
			fails(4, "Could not fetch rule set generation id: Invalid argument"),
			"exit status 4: Could not fetch rule set generation id: Invalid argument", ErrUnusable,
		},
		"no nf_tables either": {
			fails(1, "iptables v1.8.9 (nf_tables): Failed to initialize nft: Protocol not supported"),
			"exit status 1: iptables v1.8.9 (nf_tables): Failed to initialize nft: Protocol not supported", ErrUnusable,
		},
		"no table": {
			fails(3, "can't initialize iptables table: Table does not exist (do you need to insmod?)"),
			"exit status 3: can't initialize iptables table: Table does not exist (do you need to insmod?)", ErrUnusable,
		},
		"no memory for the table": {
			fails(3, "can't initialize iptables table: Memory allocation problem"),
			"exit status 3: can't initialize iptables table: Memory allocation problem", nil,
		},
		"no extension for a rule": {
			fails(3, "iptables v1.8.9 (nf_tables): Parsing nftables rule failed"),
			"exit status 3: iptables v1.8.9 (nf_tables): Parsing nftables rule failed", ErrUnusable,
		},
		"rules of nft": {
			fails(1, "iptables v1.8.9 (nf_tables): table 'filter' is incompatible, use 'nft' tool."),
			"exit status 1: iptables v1.8.9 (nf_tables): table 'filter' is incompatible, use 'nft' tool.", ErrUnusable,
		},
		"no extension": {
			fails(4, "Warning: Extension conntrack revision 0 not supported, missing kernel module?"),
			"exit status 4: Warning: Extension conntrack revision 0 not supported, missing kernel module?", ErrUnusable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if strings.Contains(test.says, "hung") {
				limit = time.Second
			}
			started := time.Now()
			_, err := runWithin(limit, "", "/bin/sh", "-c", test.script)
			if took := time.Since(started); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
			want := "running /bin/sh: " + test.says
			if test.says == "" && err != nil || test.says != "" && (err == nil || err.Error() != want) {
				t.Errorf("got error %v, want %q", err, want)
			}
			for _, kind := range []error{ErrLocked, ErrUnusable} {
				if errors.Is(err, kind) != errors.Is(test.kind, kind) {
					t.Errorf("got %v, is %q: %t", err, kind, !errors.Is(err, kind))
				}
			}
		})
	}
}

func fails(status int, text string) string {
	return `echo "` + text + `" >&2; exit ` + strconv.Itoa(status)
}

// TestRunEndsAll wants the processes of a program that hung, or that left some behind, to
// be gone with it: they have inherited the lock of the records.
func TestRunEndsAll(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"hung": "sleep 60 & echo $! >FILE; wait", "left behind": "sleep 60 & echo $! >FILE",
		"failed": "sleep 60 & echo $! >FILE; exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			if _, err := runWithin(time.Second, "", "/bin/sh", "-c", strings.ReplaceAll(script, "FILE", file)); err == nil {
				t.Fatal("no error")
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if isGone(pid) {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Errorf("process %d is still there", pid)
		})
	}
}

// isGone reports whether a process has ended, or is a zombie that nobody waits for.
func isGone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(text), ") Z ")
}

// TestPipes wants all three standard streams of a program to be pipes, with and without
// an input: SELinux lets iptables use no other file of a container runtime.
func TestPipes(t *testing.T) {
	t.Parallel()
	for _, stdin := range []string{"", "*filter\nCOMMIT\n"} {
		got, err := run(stdin, "/bin/sh", "-c", "for n in 0 1 2; do readlink /proc/$$/fd/$n; done")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(got, "pipe:[") != 3 {
			t.Errorf("with the input %q the streams are\n%s", stdin, got)
		}
	}
}

// TestUnreadInput has a program end without reading its input, which is longer than a
// pipe holds.
func TestUnreadInput(t *testing.T) {
	t.Parallel()
	got, err := run(strings.Repeat("-N CHAIN\n", 1<<15), "/bin/sh", "-c", "echo done")
	if err != nil || got != "done\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestNoStart wants the reason why a program does not start.
func TestNoStart(t *testing.T) {
	t.Parallel()
	_, err := run("", "/nowhere/iptables", "-S")
	var failed *Error
	if !errors.As(err, &failed) || failed.Program != "/nowhere/iptables" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestIsUnusable wants every part of an error to say that iptables does not work.
func TestIsUnusable(t *testing.T) {
	t.Parallel()
	unusable := fmt.Errorf("IPv4: %w", &Error{err: ErrUnusable})
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{ErrLocked, false},
		{unusable, true},
		{errors.Join(unusable, ErrUnusable), true},
		{errors.Join(unusable, &Error{}), false},
		{fmt.Errorf("both: %w", errors.Join(unusable, ErrLocked)), false},
	} {
		if got := IsUnusable(test.err); got != test.want {
			t.Errorf("%v: got %t", test.err, got)
		}
	}
}
