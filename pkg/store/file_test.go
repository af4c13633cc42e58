// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeHalf leaves half a record, as a call does that dies while it writes.
func writeHalf(t *testing.T, s *Store) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, tempName), []byte(`{"ver`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCrash expects a half-written record to be ignored, and to be removed by the
// next call that writes or locks.
func TestCrash(t *testing.T) {
	t.Parallel()
	s := open(t)
	writeHalf(t, s)
	if l := s.List(); len(l.Entries)+len(l.Problems) > 0 {
		t.Errorf("half a record was listed: %+v", l)
	}
	put(t, s, attachment("c1", "10.0.0.2"))
	if names := files(t, s); len(names) != 1 {
		t.Errorf("got files %q", names)
	}
	writeHalf(t, s)
	unlock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if names := files(t, s); len(names) != 2 {
		t.Errorf("Lock left %q", names)
	}
}

// TestDamaged expects every file that is not a valid record to be reported by its
// path, and left alone.
func TestDamaged(t *testing.T) {
	t.Parallel()
	a := attachment("c1", "10.0.0.2")
	good := NewEntry(a).file
	const foreign = "not a record of this plugin"
	content, err := encode(a)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(key string, value any) string {
		var r map[string]any
		if err := json.Unmarshal(content, &r); err != nil {
			t.Fatal(err)
		}
		r[key] = value
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	tests := map[string]struct {
		name, content string
		want          string
	}{
		"empty":             {good, "", "unexpected end"},
		"truncated":         {good, string(content[:len(content)/2]), "unexpected end"},
		"not JSON":          {good, "\x00\x01", "invalid character"},
		"newer content":     {good, edit("version", 3), "newer version"},
		"no version":        {good, edit("version", 0), "version 0 is unknown"},
		"another's content": {good, edit("containerID", "c2"), "does not match its name"},
		"no container":      {good, edit("containerID", ""), "containerID or ifName is missing"},
		"unknown families":  {good, edit("isolatedIn", "IPv5"), `isolatedIn "IPv5" is unknown`},
		"hostile bridge":    {good, edit("bridge", "x\n-A FORWARD -j ACCEPT"), "bridge"},
		"hostile chain":     {good, edit("iptablesAdminChainName", "ACCEPT"), "iptablesAdminChainName"},
		"empty chain":       {good, edit("iptablesAdminChainName", ""), "iptablesAdminChainName"},
		"bad address":       {good, edit("addresses", []string{"0.0.0.0/0"}), "address"},
		"unknown policy":    {good, edit("ingressPolicy", "closed"), "ingressPolicy"},
		"unknown ports":     {good, edit("publishedPorts", ""), "publishedPorts"},
		"hostile interface": {good, edit("interfaces", []string{"x\n-A FORWARD -j ACCEPT"}), "interface"},
		"negative index":    {good, edit("portIndex", -1), "index is negative"},
		"unknown stated":    {good, edit("stated", []string{"closed"}), "are no policies"},
		"stated downwards":  {good, edit("stated", []string{"same-bridge", "open"}), "are no policies"},
		"stated twice":      {good, edit("stated", []string{"same-bridge", "same-bridge"}), "are no policies"},
		"stated otherwise":  {good, edit("stated", []string{"open", "isolated"}), "add up to"},
		"foreign name":      {"notes.txt", "hello", foreign},
		"newer name":        {"3,anything.json", "{}", "newer version"},
		"hostile name":      {strings.Replace(good, "br-x", "%2F", 1), string(content), foreign},
		"too few fields":    {strings.Replace(good, ",0,,", ",", 1), string(content), foreign},
		"no index":          {strings.Replace(good, ",0,,", ",x,,", 1), string(content), foreign},
		"negative number":   {strings.Replace(good, ",0,,", ",-1,,", 1), string(content), foreign},
		"empty interface":   {strings.Replace(good, ",0,,", ",0,a++b,", 1), string(content), foreign},
		"hostile port":      {strings.Replace(good, ",0,,", ",0,,-j", 1), string(content), foreign},
		"stated in a name":  {strings.Replace(good, ",same-bridge,", ",same-bridge+isolated,", 1), string(content), foreign},
		"upper-case key":    {good[:2] + "A" + good[3:], string(content), foreign},
		"no hex address":    {strings.Replace(good, "0a000002", "0a000002x", 1), string(content), foreign},
		"short address":     {strings.Replace(good, "0a000002", "0a0000", 1), string(content), foreign},
		"long address":      {strings.Replace(good, "0a000002", strings.Repeat("0", 34), 1), string(content), foreign},
		"mapped address":    {strings.Replace(good, "0a", strings.Repeat("0", 20)+"ffff0a", 1), string(content), foreign},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			path := filepath.Join(s.dir, test.name)
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			l := s.List()
			problems := l.Problems
			for _, e := range l.Entries {
				if _, err := s.Read(e); err != nil {
					problems = append(problems, err)
				}
			}
			text := fmt.Sprint(problems)
			if len(problems) != 1 || !strings.Contains(text, test.want) || !strings.Contains(text, path) {
				t.Errorf("got problems %v, want one with %q and the path", problems, test.want)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != test.content {
				t.Errorf("the file was not left alone: %q, %v", got, err)
			}
		})
	}
}

func TestReadRefusesOddFiles(t *testing.T) {
	t.Parallel()
	a := attachment("c1", "10.0.0.2")
	for name, create := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink("/etc/passwd", path) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		s := open(t)
		if err := create(filepath.Join(s.dir, NewEntry(a).file)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(NewEntry(a)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
