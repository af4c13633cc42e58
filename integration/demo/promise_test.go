// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/policy"
)

func TestPromised(t *testing.T) {
	t.Parallel()
	shop, blog := &network{policy: policy.SameBridge}, &network{policy: policy.SameBridge}
	vault, lobby := &network{policy: policy.Isolated}, &network{policy: policy.Open}
	at := func(n *network) place { return place{network: n} }
	direct := func(n *network) destination { return destination{place: at(n)} }
	published := func(n *network) destination { return destination{at(n), 8080} }

	for _, c := range []struct {
		name string
		from *network
		to   destination
		want host.Verdict
	}{
		{"own same-bridge network", shop, direct(shop), host.Open},
		{"own isolated network", vault, direct(vault), host.Blocked},
		{"same-bridge to same-bridge", shop, direct(blog), host.Blocked},
		{"same-bridge to isolated", shop, direct(vault), host.Blocked},
		{"isolated to same-bridge", vault, direct(shop), host.Blocked},
		{"open to isolated", lobby, direct(vault), host.Open},
		{"same-bridge to open", shop, direct(lobby), host.Open},
		{"own open network", lobby, direct(lobby), host.Open},
		{"isolated to the host or the outside", vault, direct(nil), host.Open},
		{"the host or the outside to isolated", nil, direct(vault), host.Open},
		{"published, own network", shop, published(shop), host.Open},
		{"published, own isolated network", vault, published(vault), host.Open},
		{"published, from same-bridge to isolated", blog, published(vault), host.Open},
		{"published, from isolated to same-bridge", vault, published(shop), host.Open},
		{"published, from the host or the outside", nil, published(vault), host.Open},
	} {
		if got := promised(at(c.from), c.to); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
