// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShape compares what commands print for programs with what is documented: whoever
// changes a key breaks somebody's program. What has an entry for each key is decoded and
// comes out the same.
func TestShape(t *testing.T) {
	t.Parallel()
	for command, report := range map[string]any{
		"status": &report{}, "restore": &restoreReport{}, "retire": &retireReport{}, "watch": &watchReport{},
		"version": &versionReport{}, "config check": &configReport{}, "explain": &explainReport{},
		"drops": &dropsReport{}, "drops --follow": &grownReport{},
	} {
		block := documentedJSON(t, command)
		d := json.NewDecoder(strings.NewReader(block))
		d.DisallowUnknownFields()
		if err := d.Decode(report); err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		var again bytes.Buffer
		if err := (plugin{stdout: &again}).answer(asJSON(), report, ""); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(block, again.String()); diff != "" {
			t.Errorf("%s (-documented +printed):\n%s", command, diff)
		}
		for _, key := range keysOf(reflect.TypeOf(report)) {
			if !strings.Contains(block, `"`+key+`":`) {
				t.Errorf("%s: the key %q is not documented", command, key)
			}
		}
	}
}

// TestAllHaveJSON wants every command but help to print JSON.
func TestAllHaveJSON(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		operands := strings.Fields(c.operands)
		if _, err := c.parse(append(operands, "-o", "json")); (err == nil) == (c.name == "help") {
			t.Errorf("%s -o json: %v", c.name, err)
		}
		if c.name != "help" {
			documentedJSON(t, c.name)
		}
	}
}

func asJSON() input { return input{given: map[string]string{"output": "json"}} }

// documentedJSON returns what the page about operating says that a command prints.
func documentedJSON(t *testing.T, command string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(top, "docs", "OPERATING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## For programs\n")
	_, behind, found := strings.Cut(section, "\n`"+command+"`:")
	_, block, begins := strings.Cut(behind, "```json\n")
	block, _, ends := strings.Cut(block, "```\n")
	if !found || !begins || !ends {
		t.Fatalf("docs/OPERATING.md does not say what %s prints for programs", command)
	}
	return block
}

// keysOf returns the keys that a type has in JSON, and those of what it is made of.
func keysOf(t reflect.Type) (keys []string) {
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keysOf(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			keys = append(append(keys, name), keysOf(t.Field(i).Type)...)
		}
	}
	return keys
}
