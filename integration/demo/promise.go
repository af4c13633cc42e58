// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// network is a bridge with containers on it.
type network struct {
	name       string
	policy     policy.IngressPolicy
	containers []string
}

// place is where traffic comes from: a row of the table.
type place struct {
	name    string
	network *network // nil for the host and the outside
}

// destination is where traffic goes to: a column of the table.
type destination struct {
	place     // that must answer
	port  int // of the host, published for the place; 0: the place's own address
}

// promise says what becomes of traffic.
type promise func(from place, to destination) host.Verdict

// openToAll is what a host does that routes and filters nothing.
func openToAll(place, destination) host.Verdict { return host.Open }

// promised is what the plugin promises. It speaks of containers alone: who may
// come from outside is the business of routes, and what the host lets in of its
// INPUT chain. A published port is the host's own address and open to all, the
// very container that serves it among them.
func promised(from place, to destination) host.Verdict {
	switch {
	case to.port != 0, from.network == nil, to.network == nil:
		return host.Open
	case from.network == to.network:
		return unless(from.network.policy == policy.Isolated)
	}
	// Between two networks the isolation is mutual, and so takes two that want it.
	return unless(from.network.policy != policy.Open && to.network.policy != policy.Open)
}

func unless(blocked bool) host.Verdict {
	if blocked {
		return host.Blocked
	}
	return host.Open
}
