// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Key identifies an attachment in the store. It is a hash: a runtime may use any
// name, and none of them must become a path.
func Key(network, containerID, ifName string) string {
	return digest(network, containerID, ifName)[:32]
}

// NetworkKey identifies a network in the store.
func NetworkKey(network string) string { return digest(network)[:16] }

// digest hashes words with their lengths, so that ("ab", "c") and ("a", "bc")
// differ.
func digest(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		_, _ = fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return hex.EncodeToString(h.Sum(nil))
}
