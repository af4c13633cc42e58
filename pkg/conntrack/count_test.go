// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTracked(t *testing.T) {
	t.Parallel()
	const headings = "entries  clashres found new\n"
	for name, c := range map[string]struct {
		count, statistics string // "-" for no such file
		want              int    // -1 for an error
	}{
		"none":                {"0\n", headings + "00000010  00000000\n", 0},
		"some":                {"17\n", "-", 17},
		"hidden":              {"-", headings + "000000ff  00000000\n000000ff  00000000\n", 255},
		"no conntrack":        {"-", "-", 0},
		"nonsense":            {"many\n", headings + "00000010\n", -1},
		"negative":            {"-1\n", "-", -1},
		"headings alone":      {"-", headings, -1},
		"empty statistics":    {"-", "", -1},
		"nonsense statistics": {"-", headings + "x\n", -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write := func(name, text string) string {
				path := filepath.Join(dir, name)
				if text == "-" {
					return path
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			got, err := trackedIn(write("count", c.count), write("statistics", c.statistics))
			if err != nil {
				got = -1
			}
			if got != c.want {
				t.Errorf("got %d, error %v, want %d", got, err, c.want)
			}
		})
	}
}
