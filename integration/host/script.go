// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"syscall"
)

// WriteScript writes a shell script that can be run at once. While it is open,
// no process must be started anywhere in the test: it would inherit the file,
// and until it has closed it the kernel refuses to run what it takes for still
// being written (ETXTBSY).
func WriteScript(path, commands string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte("#!/bin/sh\n"+commands), 0o755)
}
