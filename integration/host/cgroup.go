// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// removeCgroups removes the control groups of a name, in which nothing runs any
// more, from every hierarchy of the machine: they do not go with the namespaces
// of the host.
func removeCgroups(name string) error {
	hierarchies, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		return err
	}
	for _, root := range append(hierarchies, "/sys/fs/cgroup/"+name) {
		if err := removeTree(root); err != nil {
			return err
		}
	}
	return nil
}

// removeTree removes directories, the innermost first, and no file: those of
// control groups cannot be.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(dir)
}
