// SPDX-License-Identifier: Apache-2.0

// Package diagnosis puts errors into words for the operator: what is wrong with the
// host, and the command that cures it.
package diagnosis

import (
	"cmp"
	"errors"
	"strings"

	"github.com/cni-isolation/firewall/pkg/netconf"
)

// Problem is what is wrong, in words. Its JSON is an interface.
type Problem struct {
	Problem string `json:"problem"`
	Cure    string `json:"cure,omitempty"` // a command; none is known for what is not common
}

// Error returns the problem and its cure in one line.
func (p Problem) Error() string {
	if p.Cure == "" {
		return p.Problem
	}
	return p.Problem + `: run "` + p.Cure + `"`
}

// Explain returns what an error says, one problem for each that is joined in it,
// and none of them twice. Cures are for a data directory.
func Explain(err error, dataDir string) []Problem {
	var all []Problem
	seen := map[Problem]bool{}
	for _, single := range separate(err) {
		p := explainOne(single, dataDir)
		if !seen[p] {
			seen[p] = true
			all = append(all, p)
		}
	}
	return all
}

func explainOne(err error, dataDir string) Problem {
	detail := strings.ReplaceAll(err.Error(), "\n", "; ")
	for _, e := range explanations {
		if operands, is := e.of(err); is {
			words := strings.NewReplacer(append(operands, "DETAIL", detail)...)
			return Problem{words.Replace(e.sentence), inDirectory(words.Replace(e.cure), dataDir)}
		}
	}
	return Problem{Problem: detail}
}

// inDirectory makes a cure one for records in another directory than the usual.
func inDirectory(cure, dataDir string) string {
	if cmp.Or(dataDir, netconf.DefaultDataDir) == netconf.DefaultDataDir {
		return cure
	}
	return strings.ReplaceAll(cure, cureRestore, cureRestore+" --data-dir "+quoted(dataDir))
}

// Explained returns an error in words, for who takes just an error.
func Explained(err error, dataDir string) error {
	var errs []error
	for _, p := range Explain(err, dataDir) {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// separate returns the errors that were joined. Others that wrap several are one:
// they say more than those do.
func separate(err error) []error {
	if err == nil {
		return nil
	}
	several, is := err.(interface{ Unwrap() []error })
	if !is {
		return []error{err}
	}
	if joined := several.Unwrap(); errors.Join(joined...).Error() == err.Error() {
		var all []error
		for _, e := range joined {
			all = append(all, separate(e)...)
		}
		return all
	}
	return []error{err}
}

// quoted returns a word as a shell reads it.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._,+%-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
