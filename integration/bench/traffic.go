// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/integration/host"
)

// echoPort is where the outside sends back what it is sent.
const echoPort = "7"

// Join attaches one more container, this time a real one, that can send to the
// world outside, and has the plugin add it.
func (w *Worker) Join(number int, _ *Nothing) error {
	if w.outside == nil {
		if err := w.openOutside(); err != nil {
			return err
		}
	}
	c := w.container(number)
	bridge, err := w.links.bridge(c.bridge())
	if err != nil {
		return err
	}
	name := fmt.Sprintf("sender%d", number)
	gateways, addresses := c.gateways(), c.addresses()
	commands := []string{
		"netns add " + name,
		"link add " + c.port() + " type veth peer name eth0 netns " + name,
		"link set " + c.port() + " master " + bridge.Attrs().Name + " up",
		"-n " + name + " link set eth0 up",
	}
	for i, gateway := range gateways {
		commands = append(commands, "addr add "+gateway+" nodad dev "+c.bridge(), "-n "+name+" addr add "+addresses[i]+" nodad dev eth0")
		gateway, _, _ = strings.Cut(gateway, "/")
		commands = append(commands, "-n "+name+" route add default via "+gateway)
	}
	for _, command := range commands {
		if _, err := w.host.Run("ip", strings.Fields(command)...); err != nil {
			return err
		}
	}
	w.attached, w.sender = number+1, name
	if err := w.addAll([]container{c}); err != nil {
		return err
	}
	if w.side.Unguarded {
		if _, err := w.host.Run("nft", "delete", "chain", "inet", "cni_firewall", "arrival"); err != nil {
			return err
		}
	}
	conn, err := w.dial() // the bridge forwards as soon as it has heard of the port
	if err != nil {
		return err
	}
	return conn.Close()
}

// openOutside makes the world outside, with what answers there.
func (w *Worker) openOutside() (err error) {
	if w.outside, err = w.host.Outside(); err != nil {
		return err
	}
	var listener net.Listener
	if err := inside(w.outside.Name, func() error {
		listener, err = net.Listen("tcp4", ":"+echoPort)
		return err
	}); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return exec.Command("ip", "netns", "exec", w.outside.Name, "iperf3", "--server").Start()
}

// inside does something in a named network namespace.
func inside(name string, do func() error) error {
	n, err := ns.GetNS("/run/netns/" + name)
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }()
	return n.Do(func(ns.NetNS) error { return do() })
}

func (w *Worker) dial() (conn net.Conn, err error) {
	const patience = 10 * time.Second
	err = inside(w.sender, func() error {
		conn, err = net.DialTimeout("tcp4", net.JoinHostPort(host.OutsideIPv4, echoPort), patience)
		return err
	})
	return conn, err
}

// What is measured of packets, of which more is better.
const (
	throughput   = "throughput, TCP"
	smallPackets = "packets of 64 bytes, UDP"
	roundTrips   = "round trips in one connection"
	connections  = "new connections"
)

var packetKinds = []string{throughput, smallPackets, roundTrips, connections}

// units of the measurements.
var packetUnits = map[string]string{
	throughput: "Gbit/s", smallPackets: "1,000/s", roundTrips: "1,000/s", connections: "1,000/s",
}

// TrafficOf is what to measure.
type TrafficOf struct{ What string }

// TrafficOutcome is what that came to.
type TrafficOutcome struct {
	Rate float64 // in the unit of the traffic
	CPU  float64 // microseconds for each, of this process, which sends and answers; 0 where iperf3 does
}

// Traffic sends from the container that joined last.
func (w *Worker) Traffic(of TrafficOf, outcome *TrafficOutcome) (err error) {
	switch of.What {
	case throughput:
		outcome.Rate, err = w.iperf(1e9, "bits_per_second")
	case smallPackets:
		outcome.Rate, err = w.iperf(64*8*1e3, "bits_per_second", "--udp", "--length", "64", "--bandwidth", "0")
	case roundTrips:
		*outcome, err = w.roundTrips(5000)
	case connections:
		*outcome, err = w.connect(1000)
	default:
		err = fmt.Errorf("there is no traffic %q", of.What)
	}
	return err
}

// iperf returns what arrived in a second, divided by a unit.
func (w *Worker) iperf(unit float64, key string, args ...string) (float64, error) {
	args = append([]string{"netns", "exec", w.sender, "iperf3", "--client", host.OutsideIPv4, "--time", "1", "--json"}, args...)
	output, err := w.host.Run("ip", args...)
	var answer struct {
		Error string
		End   struct {
			Received map[string]any `json:"sum_received"`
		}
	}
	if jsonErr := json.Unmarshal([]byte(output), &answer); err == nil {
		err = jsonErr
	}
	if answer.Error != "" {
		err = fmt.Errorf("iperf3: %s", answer.Error)
	}
	if err != nil {
		return 0, err
	}
	value, is := answer.End.Received[key].(float64)
	if !is {
		return 0, fmt.Errorf("iperf3 says nothing of %s: %s", key, output)
	}
	return value / unit, nil
}

// roundTrips sends one byte and waits for it to come back, again and again.
func (w *Worker) roundTrips(count int) (TrafficOutcome, error) {
	conn, err := w.dial()
	if err != nil {
		return TrafficOutcome{}, err
	}
	defer func() { _ = conn.Close() }()
	return repeat(count, func() error { return echo(conn) })
}

// connect opens connections, one after the other, in each of which one byte goes
// there and back.
func (w *Worker) connect(count int) (outcome TrafficOutcome, err error) {
	err = inside(w.sender, func() error {
		outcome, err = repeat(count, func() error {
			conn, err := net.Dial("tcp4", net.JoinHostPort(host.OutsideIPv4, echoPort))
			if err == nil {
				err = echo(conn)
				_ = conn.Close()
			}
			return err
		})
		return err
	})
	return outcome, err
}

func echo(conn net.Conn) error {
	one := []byte{1}
	if _, err := conn.Write(one); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, one)
	return err
}

// repeat does something so many times. It returns thousands a second, and what one costs.
func repeat(count int, do func() error) (TrafficOutcome, error) {
	begin, before := time.Now(), processorTime()
	for range count {
		if err := do(); err != nil {
			return TrafficOutcome{}, err
		}
	}
	took, cpu := time.Since(begin), processorTime()-before
	return TrafficOutcome{float64(count) / took.Seconds() / 1000, 1000 * milliseconds(cpu) / float64(count)}, nil
}

// processorTime returns that of this process.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // it knows no other errors than those of its arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
