// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
)

// Stream is what became of packets that were sent one after the other.
type Stream struct {
	Sent, Arrived int
}

// Fewest is how many packets a stream has at least, however long they take.
const Fewest = 30

// Datagrams sends one every interval, from the container to an address, until
// the context is done, and counts those that arrive at a container that serves
// the port.
func (c *Container) Datagrams(ctx context.Context, interval time.Duration, to *Container, address string, port int) (Stream, error) {
	var conn net.Conn
	err := c.ns.Do(func(ns.NetNS) (err error) {
		conn, err = net.Dial("udp", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	})
	if err != nil {
		return Stream{}, err
	}
	defer func() { _ = conn.Close() }()
	var arrivals []chan struct{}
	for ctx.Err() == nil || len(arrivals) < Fewest {
		number, arrived := strconv.FormatInt(sent.Add(1), 10), make(chan struct{})
		to.awaited.Store(number, arrived)
		if _, err := io.WriteString(conn, number); err != nil {
			return Stream{}, err
		}
		arrivals = append(arrivals, arrived)
		time.Sleep(interval)
	}
	<-naps.until(Patience) // for the last of them
	s := Stream{Sent: len(arrivals)}
	for _, a := range arrivals {
		select {
		case <-a:
			s.Arrived++
		default:
		}
	}
	return s, nil
}

// Connections opens TCP connections, one after the other, from the container to
// an address until the context is done, and counts those that are answered.
// Nobody waits long for one, so that there is always a packet on its way.
func (c *Container) Connections(ctx context.Context, interval time.Duration, address string, port int) (Stream, error) {
	var s Stream
	var dialer net.Dialer
	for ctx.Err() == nil || s.Sent < Fewest {
		s.Sent++
		err := c.ns.Do(func(ns.NetNS) error {
			conn, err := dialer.DialContext(withPatience(10*interval), "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
			if err == nil {
				_ = conn.Close()
			}
			return err
		})
		verdict := Open
		if err != nil {
			if verdict, _, err = refusal(err); err != nil {
				return s, err
			}
		}
		if verdict != Blocked {
			s.Arrived++
		}
		time.Sleep(interval)
	}
	return s, nil
}
