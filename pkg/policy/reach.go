// SPDX-License-Identifier: Apache-2.0

package policy

// Reach says what containers of one bridge can open connections to, on another
// bridge or on their own.
type Reach int

// The reaches, from the least to the most.
const (
	Nothing       Reach = iota
	PublishedOnly       // ports that the host redirects to the container
	Everything
)

// Reaches returns what containers on the bridge from reach on the bridge to, which
// may be the same.
func Reaches(from, to Bridge) Reach {
	blocked := to.IngressPolicy.IsStrict() || from.IngressPolicy.Isolates() && to.IngressPolicy.Isolates()
	if from.Name == to.Name {
		blocked = to.IngressPolicy.Separates()
	}
	return reachOf(to, blocked)
}

// FromOutside returns what can be reached on a bridge from anywhere but bridges of this
// plugin and the host itself: from the outside world, as far as routes lead.
func FromOutside(to Bridge) Reach { return reachOf(to, to.IngressPolicy.IsStrict()) }

func reachOf(to Bridge, blocked bool) Reach {
	switch {
	case !blocked:
		return Everything
	case to.PublishedPorts == Allow:
		return PublishedOnly
	}
	return Nothing
}
