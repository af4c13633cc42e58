// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/containernetworking/cni/pkg/types"
)

// problems collects all that is wrong, so that the user sees it at once.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return types.NewError(types.ErrInvalidNetworkConfig, p.joined().Error(), "")
}

func (p problems) joined() error {
	return errors.New(strings.ReplaceAll(errors.Join(p...).Error(), "\n", "; "))
}

// choice returns the value of a key that takes one of a few. Empty counts as
// unset: Podman writes "backend":"". advice has what to do instead of other values.
func choice[T ~string](bad *problems, key, value string, unset T, accepted []T, advice map[string]string) T {
	if value == "" {
		return unset
	}
	if !slices.Contains(accepted, T(value)) {
		bad.add("%s %q is unknown: it must be %s%s", key, value, alternatives(accepted), hint(value, accepted, advice))
		return unset
	}
	return T(value)
}

// hint returns what to write instead of a value, or nothing where nobody can tell.
func hint[T ~string](value string, accepted []T, advice map[string]string) string {
	meant := letters(value)
	for _, a := range accepted {
		if letters(string(a)) == meant {
			return fmt.Sprintf("; write %q", string(a))
		}
	}
	if text := advice[meant]; text != "" {
		return "; " + text
	}
	return ""
}

// letters returns a value without what is easily mistaken: case, spaces, hyphens.
func letters(value string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, value)
}

// alternatives returns `"a", "b" or "c"`.
func alternatives[T ~string](values []T) string {
	var list []string
	for _, v := range values {
		list = append(list, fmt.Sprintf("%q", string(v)))
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}

// checked returns the value of a key that has a syntax.
func checked(bad *problems, key, value, unset string, check func(string) error) string {
	if value == "" {
		return unset
	}
	if err := check(value); err != nil {
		bad.add("%s %q %w", key, value, err)
		return unset
	}
	return value
}

func checkDataDir(path string) error {
	switch {
	case !filepath.IsAbs(path):
		return errors.New("is not an absolute path")
	case strings.ContainsRune(path, 0):
		return errors.New("contains a zero byte")
	case filepath.Clean(path) == "/":
		return errors.New("is the root directory: it must be a directory of the plugin's own")
	}
	return nil
}
