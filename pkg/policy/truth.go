// SPDX-License-Identifier: Apache-2.0

package policy

// Truth is whether a packet meets a condition, as far as the packet is known.
type Truth int

// The truths: the least of them is that of several conditions.
const (
	Never Truth = iota
	Maybe
	Always
)

// Known is the truth of what is known.
func Known(holds bool) Truth {
	if holds {
		return Always
	}
	return Never
}

// Not returns the truth of the opposite.
func (t Truth) Not() Truth { return Always - t }

// MaxDepth is more than the kernel lets jumps from chain to chain be nested in each other.
const MaxDepth = 64
