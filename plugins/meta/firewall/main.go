// SPDX-License-Identifier: Apache-2.0

// Firewall is a CNI meta plugin: chained after a plugin that made the
// interfaces, it forwards a container's traffic and isolates its bridge from
// the other isolated bridges. With an argument it is the operator's tool.
//
// This package is the door: it parses, calls the engine (pkg/firewall) and prints.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/netconf"
)

// buildVersion is set by the release's linker flags. nerdctl reads it from the
// about line and does without isolation for one it cannot parse, so that a plain
// "go build" must have a full one too.
var buildVersion = "v2.0.0"

// plugin is where the verbs and commands write to. It serves one call.
type plugin struct {
	stdout, stderr io.Writer
	log            *callLog
}

func main() {
	// Without it, a runtime that has gone ends the plugin by SIGPIPE when it writes its
	// result, and nothing is rolled back. Programs that are started do not inherit it.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	p := plugin{os.Stdout, os.Stderr, newCallLog(os.Stderr)}
	if args := operatorsArgs(); args != nil {
		os.Exit(p.operate(args))
	}
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add:    coded(p.logged("ADD", p.add)),
		Check:  coded(p.check),
		Del:    coded(p.logged("DEL", p.del)),
		GC:     coded(p.logged("GC", p.gc)),
		Status: coded(p.status),
	}, cniVersions(), about(os.Args[0]))
}

// about returns the line that the plugin writes when it is called without a verb,
// under the name that a conflist calls it by.
func about(path string) string {
	name := filepath.Base(path)
	if name != netconf.PluginIsolation {
		name = netconf.PluginFirewall
	}
	return "CNI " + name + " plugin " + buildVersion
}

// engine returns the engine for the records below a data directory.
func (p plugin) engine(dataDir string) *firewall.Engine {
	host := firewall.ThisHost()
	host.Warn, host.About = func(err error) { p.warn(err) }, p.log.setAbout
	return firewall.New(dataDir, host)
}

// warn tells the operator what did not stop the call.
func (p plugin) warn(errs ...error) { warn(p.stderr, errs...) }

func warn(stderr io.Writer, errs ...error) {
	if err := errors.Join(errs...); err != nil {
		_, _ = fmt.Fprintln(stderr, "firewall: warning:", err)
	}
}
