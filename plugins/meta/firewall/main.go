// SPDX-License-Identifier: Apache-2.0

// Firewall is a CNI meta plugin: chained after a plugin that made the
// interfaces, it forwards a container's traffic and isolates its bridge from
// the other isolated bridges. With an argument it is the operator's tool.
package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/store"
)

// buildVersion is set by the release's linker flags. nerdctl reads it from the
// about line and does without isolation for one it cannot parse, so that a plain
// "go build" must have a full one too.
var buildVersion = "v2.0.0"

func main() {
	p := plugin{os.Stdout, os.Stderr, newDrivers(), newCallLog(os.Stderr)}
	if len(os.Args) > 1 {
		os.Exit(p.operate(os.Args[1:]))
	}
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add:    coded(p.logged(verbAdd, p.add)),
		Check:  coded(p.check),
		Del:    coded(p.logged(verbDel, p.del)),
		GC:     coded(p.logged("GC", p.gc)),
		Status: coded(p.status),
	}, version.VersionsStartingFrom("0.4.0"), about(os.Args[0]))
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

// coded gives a verb's errors the CNI code that tells the runtime what to do.
func coded(verb func(*skel.CmdArgs) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		err := verb(args)
		if errors.Is(err, store.ErrLocked) || errors.Is(err, iptables.ErrLocked) || errors.Is(err, nftables.ErrBusy) ||
			errors.Is(err, firewalld.ErrNoAnswer) {
			return types.NewError(types.ErrTryAgainLater, err.Error(), "")
		}
		if errors.Is(err, firewalld.ErrUnknownZone) {
			return types.NewError(types.ErrInvalidNetworkConfig, err.Error(), "")
		}
		return err
	}
}
