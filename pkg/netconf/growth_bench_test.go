// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/internal/growth"
)

// crowded returns the configuration of a GC for a network with n containers.
func crowded(n int) []byte {
	var valid []string
	for i := range n {
		valid = append(valid, fmt.Sprintf(`{"containerID":"container%d","ifname":"eth0"}`, i))
	}
	return []byte(input(`"cni.dev/valid-attachments":[` + strings.Join(valid, ",") + `]`))
}

// addressed returns the configuration of an ADD for a container with n addresses
// and n interfaces.
func addressed(n int) []byte {
	var interfaces, ips []string
	for i := range n {
		interfaces = append(interfaces, fmt.Sprintf(`{"name":"veth%d"}`, i))
		ips = append(ips, fmt.Sprintf(`{"address":"10.%d.%d.2/24"}`, i/256%256, i%256))
	}
	return []byte(input(fmt.Sprintf(`"ingressPolicy":"same-bridge","prevResult":{"interfaces":[%s],"ips":[%s]}`,
		strings.Join(interfaces, ","), strings.Join(ips, ","))))
}

// attach parses a configuration. Its host has the bridge veth0.
func attach(tb testing.TB, text []byte) {
	conf, err := Parse(text, Host{})
	if err == nil {
		_, err = conf.Attachment("container", "eth0", func(name string) (HostLink, error) {
			if name == "veth0" {
				return HostLink{BridgeLink, name, 1}, nil
			}
			return HostLink{OtherLink, name, 2}, nil
		})
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkAttachment parses the configuration of an ADD for a container with two
// addresses.
func BenchmarkAttachment(b *testing.B) {
	text := addressed(2)
	b.ReportAllocs()
	for b.Loop() {
		attach(b, text)
	}
}

func TestGrowth(t *testing.T) {
	t.Run("addresses", func(t *testing.T) {
		growth.Linear(t, func(n int) func() {
			text := addressed(n)
			return func() { attach(t, text) }
		})
	})
	t.Run("valid attachments", func(t *testing.T) {
		growth.Linear(t, func(n int) func() {
			text := crowded(n)
			return func() {
				if conf, err := Parse(text, Host{}); err != nil || len(conf.Valid) != n {
					t.Fatal(err)
				}
			}
		})
	})
}
