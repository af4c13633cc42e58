// SPDX-License-Identifier: Apache-2.0

// Vulndb makes a database for govulncheck of the reports of the Go vulnerability
// database, as its module golang.org/x/vulndb has them: for hosts that reach a
// module proxy and nothing else. Usage: vulndb REPORTS DIRECTORY
//
// The layout is that of https://go.dev/doc/security/vuln/database#api.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is the part of a report, in the format of OSV, that the index needs.
type report struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases"`
	Affected []struct {
		Package struct {
			Name string `json:"name"` // of the module
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

// entry is a vulnerability in the index.
type entry struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`   // in modules.json
	Aliases  []string  `json:"aliases,omitempty"` // in vulns.json
}

// module is one of modules.json.
type module struct {
	Path  string  `json:"path"`
	Vulns []entry `json:"vulns"`
}

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("usage: vulndb REPORTS DIRECTORY"))
	}
	if err := build(os.Args[1], os.Args[2]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "vulndb:", err)
	os.Exit(1)
}

// build writes the database of all reports of a directory into another one.
func build(reports, directory string) error {
	files, err := filepath.Glob(filepath.Join(reports, "GO-*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no reports in %s", reports)
	}
	var last time.Time
	var vulns []entry
	byModule := map[string][]entry{}
	for _, file := range files {
		r, err := add(file, directory)
		if err != nil {
			return fmt.Errorf("reading report %s: %w", file, err)
		}
		if r.Modified.After(last) {
			last = r.Modified
		}
		vulns = append(vulns, entry{ID: r.ID, Modified: r.Modified, Aliases: r.Aliases})
		for path, fixed := range r.modules() {
			byModule[path] = append(byModule[path], entry{ID: r.ID, Modified: r.Modified, Fixed: fixed})
		}
	}
	modules := []module{}
	for path, entries := range byModule {
		modules = append(modules, module{path, entries})
	}
	slices.SortFunc(modules, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return errors.Join(
		write(directory, "index/db.json", map[string]time.Time{"modified": last}),
		write(directory, "index/vulns.json", vulns),
		write(directory, "index/modules.json", modules))
}

// add copies a report and returns it.
func add(file, directory string) (report, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return report{}, err
	}
	var r report
	if err := json.Unmarshal(content, &r); err != nil {
		return report{}, err
	}
	if r.ID != strings.TrimSuffix(filepath.Base(file), ".json") {
		return report{}, fmt.Errorf("its id is %q", r.ID)
	}
	return r, write(directory, "ID/"+r.ID+".json", json.RawMessage(content))
}

// modules returns the modules that a report is about, each with the version that
// fixes it, if there is one: the last of its events.
func (r report) modules() map[string]string {
	fixed := map[string]string{}
	for _, a := range r.Affected {
		version := ""
		for _, ranges := range a.Ranges {
			for _, event := range ranges.Events {
				if event.Fixed != "" {
					version = event.Fixed
				}
			}
		}
		fixed[a.Package.Name] = version
	}
	return fixed
}

func write(directory, name string, content any) error {
	path := filepath.Join(directory, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
