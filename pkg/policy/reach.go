// SPDX-License-Identifier: Apache-2.0

package policy

// Reach says how far containers of one network get to those of another.
type Reach int

// The reaches, from none to all.
const (
	Nothing       Reach = iota
	PublishedOnly       // ports that the host redirects
	Everything
)

// Reaches returns how far the containers of one bridge get to those of another,
// or of the same one.
func Reaches(from, to Bridge) Reach {
	switch {
	case from.Name == to.Name && to.IngressPolicy != Isolated:
		return Everything
	case from.Name != to.Name && !(from.IngressPolicy.Isolates() && to.IngressPolicy.Isolates()):
		return Everything
	case to.PublishedPorts == Allow:
		return PublishedOnly
	}
	return Nothing
}
