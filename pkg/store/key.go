// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Key names an attachment in the store. It is a hash, so that no name of the
// runtime's becomes a path.
func Key(network, containerID, ifName string) string {
	return digest(network, containerID, ifName)[:32]
}

// NetworkKey names a network in the store.
func NetworkKey(network string) string { return digest(network)[:16] }

// digest tells ("ab", "c") from ("a", "bc") by the lengths.
func digest(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		_, _ = fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return hex.EncodeToString(h.Sum(nil))
}
