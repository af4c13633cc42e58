// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// problems collects what is wrong, so that a user sees all of it at once.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return types.NewError(types.ErrInvalidNetworkConfig, strings.ReplaceAll(errors.Join(p...).Error(), "\n", "; "), "")
}

// choice returns the value of a key that has a fixed set of them. Empty counts
// as unset: Podman writes "backend":"".
func choice[T ~string](bad *problems, key, value string, unset T, accepted []T) T {
	if value == "" {
		return unset
	}
	if slices.Contains(accepted, T(value)) {
		return T(value)
	}
	var list []string
	for _, v := range accepted {
		list = append(list, fmt.Sprintf("%q", v))
	}
	bad.add("%s %q is unknown: it must be %s", key, value, strings.Join(list, " or "))
	return unset
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
		return errors.New("is no absolute path")
	case strings.ContainsRune(path, 0):
		return errors.New("has a zero byte in it")
	case filepath.Clean(path) == "/":
		return errors.New("is the root directory: it must be one of the plugin's own")
	}
	return nil
}
