// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
)

// Plugin says whose plugin is called.
type Plugin string

// The plugins.
const (
	Ours     Plugin = "ours"
	Upstream Plugin = "upstream"
	NoPlugin Plugin = "none"
)

// Side is a host with a plugin, one of those that are measured in turn.
type Side struct {
	Name      string
	Plugin    Plugin
	Backend   string // that the configuration names; empty where the plugin chooses
	Variant   string // of iptables
	Firewalld bool
	Policy    string // same-bridge if empty
	Others    string // what else the host has
	Unguarded bool   // without the guard against forged sources
	Nerdctl   bool   // it runs containers there
	Conntrack bool   // connections are tracked, whatever the plugin does
	Network   network
}

func (s Side) setting() Setting {
	families := "IPv4"
	if s.Network.Dual {
		families = "dual-stack"
	}
	return Setting{families, s.Others}
}

// inTurn does something on one host after the other. Each is the first in some rounds.
func inTurn(sides []*remote, round int, do func(side int) error) error {
	for i := range sides {
		if err := do((i + round) % len(sides)); err != nil {
			return err
		}
	}
	return nil
}

// workerArgument has this program be a worker.
const workerArgument = "worker"

// remote is a side on its host.
type remote struct {
	Side
	process *exec.Cmd
	client  *rpc.Client
}

// start starts the host of a side. The worker ends when its standard input does.
func start(side Side) (*remote, error) {
	cmd := exec.Command("/proc/self/exe", workerArgument)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &remote{side, cmd, rpc.NewClient(stdio{out, in})}
	return r, r.tell("SetUp", side)
}

// tell has the worker do something.
func (r *remote) tell(method string, argument any) error {
	return r.ask(method, argument, &Nothing{})
}

func (r *remote) ask(method string, argument, reply any) error {
	if err := r.client.Call("Worker."+method, argument, reply); err != nil {
		return fmt.Errorf("%s: %s: %w", r.Name, method, err)
	}
	return nil
}

// stop ends the host, and all that runs there.
func (r *remote) stop() error {
	_ = r.client.Close()
	return r.process.Wait()
}
