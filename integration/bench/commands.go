// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/integration/host"
)

const (
	nerdctlNetwork = "bench"
	nerdctlImage   = "docker.io/library/image:latest"
)

// standInPath is where nerdctl finds the stand-in for the plugin.
const standInPath = host.PluginDir + "/firewall"

// StartNerdctl gives nerdctl what it needs: containerd, an image, and a network as nerdctl
// writes it.
func (w *Worker) StartNerdctl(Nothing, *Nothing) error {
	if err := w.installStandIn(); err != nil {
		return err
	}
	if _, err := w.host.Containerd(); err != nil {
		return err
	}
	if err := os.Setenv("CONTAINERD_NAMESPACE", w.host.Cgroup); err != nil { // by which it names control groups
		return err
	}
	root, err := w.host.Image()
	if err != nil {
		return err
	}
	archive, err := w.host.Archive(root, nerdctlImage)
	if err != nil {
		return err
	}
	if _, err := w.host.Run("ctr", "images", "import", archive); err != nil {
		return err
	}
	return w.createNetwork()
}

func (w *Worker) installStandIn() error {
	if err := os.Symlink(w.path, standInPath+".real"); err != nil {
		return err
	}
	if err := unix.Mount(w.binary("bench-standin"), standInPath, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("installing the stand-in: %w", err)
	}
	return nil
}

// createNetwork has nerdctl write a network. It has no option for the backend, which
// an operator writes into its file.
func (w *Worker) createNetwork() error {
	args := []string{"network", "create", "--subnet", "10.41.0.0/24"}
	if w.side.Network.Dual {
		args = append(args, "--ipv6", "--subnet", "fd00:41::/64")
	}
	if _, err := w.host.Run(w.host.Nerdctl(), append(args, nerdctlNetwork)...); err != nil || w.side.Backend == "" {
		return err
	}
	path := filepath.Join(host.ConflistDir, w.host.Cgroup, "nerdctl-"+nerdctlNetwork+".conflist")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const entry = `"type": "firewall",`
	if !strings.Contains(string(text), entry) {
		return fmt.Errorf("%s has no %s: %s", path, entry, text)
	}
	edited := strings.Replace(string(text), entry, fmt.Sprintf("%s \"backend\": %q,", entry, w.side.Backend), 1)
	return os.WriteFile(path, []byte(edited), 0o644)
}

// What nerdctl is told to do with each container.
const (
	nerdctlRun = "run"
	nerdctlRm  = "rm -f"
)

// wantedVerbs are those that a command must call the plugin with.
var wantedVerbs = map[string]string{nerdctlRun: "ADD", nerdctlRm: "DEL"}

// NerdctlOf is a command for some containers at once.
type NerdctlOf struct {
	Command string
	Count   int
}

// NerdctlOutcome is what became of that.
type NerdctlOutcome struct {
	Wall      time.Duration // until the last command was done
	Plugin    time.Duration // of all calls of the plugin, each from its start to its exit
	PluginCPU time.Duration
}

// Nerdctl starts a command for each container, all at once, and waits for all.
func (w *Worker) Nerdctl(of NerdctlOf, outcome *NerdctlOutcome) error {
	if err := forgetCalls(); err != nil {
		return err
	}
	errs := make([]error, of.Count)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range of.Count {
		wg.Go(func() { _, errs[i] = tool("", w.host.Nerdctl(), of.args(i)...).run() })
	}
	wg.Wait()
	outcome.Wall = time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	calls, err := os.ReadFile(standInPath + ".calls")
	if err != nil {
		return err
	}
	return outcome.add(of, string(calls))
}

func (of NerdctlOf) args(number int) []string {
	name := fmt.Sprintf("bench%d", number) // no beginning of an ID, which nerdctl takes for a name, too
	if of.Command == nerdctlRm {
		return []string{"rm", "--force", name}
	}
	args := []string{"run", "--detach", "--pull", "never", "--name", name, "--network", nerdctlNetwork, nerdctlImage}
	return append(args, host.Answer(name, 80)...)
}

// add adds up what the stand-in wrote of calls. One that failed, or is missing, is an
// error: nerdctl does not tell of a DEL that failed.
func (outcome *NerdctlOutcome) add(of NerdctlOf, calls string) error {
	wanted := 0
	for line := range strings.Lines(calls) {
		var verb string
		var wall, cpu time.Duration
		var code int
		if _, err := fmt.Sscan(line, &verb, (*int64)(&wall), (*int64)(&cpu), &code); err != nil {
			return fmt.Errorf("reading %q of the stand-in: %w", line, err)
		}
		if code != 0 {
			return fmt.Errorf("%s of the plugin in nerdctl %s: exit status %d", verb, of.Command, code)
		}
		if verb == wantedVerbs[of.Command] {
			wanted++
		}
		outcome.Plugin += wall
		outcome.PluginCPU += cpu
	}
	if wanted < of.Count {
		return fmt.Errorf("nerdctl %s of %d containers called the plugin for %d %s: %q", of.Command, of.Count, wanted, wantedVerbs[of.Command], calls)
	}
	return nil
}

func forgetCalls() error {
	err := os.Remove(standInPath + ".calls")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// StandIn measures once how much longer a call takes by the stand-in, in milliseconds.
func (w *Worker) StandIn(_ Nothing, longer *float64) error {
	call := w.program("VERSION", w.container(0))
	call.stdin = []byte(`{"cniVersion":"1.0.0"}`)
	alone, err := call.run()
	if err != nil {
		return err
	}
	call.path = standInPath
	through, err := call.run()
	*longer = milliseconds(through.Wall - alone.Wall)
	return err
}
