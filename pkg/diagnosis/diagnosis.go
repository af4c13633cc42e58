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

// Problem says what is wrong. Its JSON is an interface.
type Problem struct {
	Problem string `json:"problem"`
	Cure    string `json:"cure,omitempty"` // a command; empty for problems that are not common
}

// Error returns the problem and its cure in one line.
func (p Problem) Error() string {
	if p.Cure == "" {
		return p.Problem
	}
	return p.Problem + `: run "` + p.Cure + `"`
}

// Explain returns a problem for each error that is joined in err, none of them twice.
// Cures name the data directory if it is not the default.
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
	var itself inWords
	if errors.As(err, &itself) {
		p := itself.words()
		return Problem{p.Problem, inDirectory(p.Cure, dataDir)}
	}
	detail := strings.ReplaceAll(err.Error(), "\n", "; ")
	for _, e := range explanations {
		if operands, is := e.of(err); is {
			words := strings.NewReplacer(append(operands, "DETAIL", detail)...)
			return Problem{words.Replace(e.sentence), inDirectory(words.Replace(e.cure), dataDir)}
		}
	}
	return Problem{Problem: detail}
}

// inDirectory adds the data directory to a cure, if it is not the default.
func inDirectory(cure, dataDir string) string {
	if cmp.Or(dataDir, netconf.DefaultDataDir) == netconf.DefaultDataDir {
		return cure
	}
	return strings.ReplaceAll(cure, cureRestore, cureRestore+" --data-dir "+quoted(dataDir))
}

// Explained is Explain for callers that need an error. It returns nil for nil.
func Explained(err error, dataDir string) error {
	var errs []error
	for _, p := range Explain(err, dataDir) {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// separate returns the errors that errors.Join joined. Any other error that wraps
// several stays whole: its text says more than theirs.
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

// quoted quotes a word for a shell, if it must.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._,+%-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
