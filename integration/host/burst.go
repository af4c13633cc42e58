// SPDX-License-Identifier: Apache-2.0

package host

import (
	"io"
	"net"
	"strconv"

	"github.com/containernetworking/plugins/pkg/ns"
)

// Burst sends a number of datagrams from the container to an address, and waits for none.
func (c *Container) Burst(number int, address string, port int) error {
	return c.ns.Do(func(ns.NetNS) error {
		conn, err := net.Dial("udp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		for range number {
			if _, err := io.WriteString(conn, "one of a burst"); err != nil {
				return err
			}
		}
		return nil
	})
}
