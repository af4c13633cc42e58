// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

// Host is the throw-away host that this process is.
type Host struct {
	root     string // of the repository
	Firewall string // path of the plugin under test
	Backend  Backend
	Cgroup   string // name of the control group that container engines are to use

	firewalld *Firewalld // nil where it was never started
	variant   string     // of iptables; empty where the machine chooses
	listings  map[string]listing
}

// Upstream returns the path of upstream's plugin.
func (h *Host) Upstream() string { return filepath.Join(h.root, "bin", "upstream", "firewall") }

// CNITool returns the path of cnitool.
func (h *Host) CNITool() string { return filepath.Join(h.root, "bin", "upstream", "cnitool") }

// BuildKit returns the directory of buildkitd and buildctl.
func (h *Host) BuildKit() string { return filepath.Join(h.root, "bin", "buildkit") }

// Nerdctl returns the path of nerdctl.
func (h *Host) Nerdctl() string { return filepath.Join(h.root, "bin", "nerdctl", "nerdctl") }

// Plugins returns the directory of the plugins that are chained with it.
func (h *Host) Plugins() string { return filepath.Join(h.root, "bin", "cni") }

// Run runs a program on the host and returns its standard output.
func (h *Host) Run(program string, args ...string) (string, error) {
	return run("", program, args...)
}

// Feed runs a program with a standard input.
func (h *Host) Feed(stdin, program string, args ...string) (string, error) {
	return run(stdin, program, args...)
}

func run(stdin, program string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// Sysctl sets one, written as path=value below /proc/sys.
func (h *Host) Sysctl(assignment string) error {
	path, value, _ := strings.Cut(assignment, "=")
	err := os.WriteFile("/proc/sys/"+path, []byte(value), 0)
	if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(path, "net/bridge/") {
		// A test must not load it: it would filter what the machine's own bridges switch.
		return fmt.Errorf("the kernel has not loaded br_netfilter, which `modprobe br_netfilter` does: %w", err)
	}
	return err
}

// Rules returns the filter tables of both families as iptables-save prints them,
// without counters and dates.
func (h *Host) Rules() (string, error) {
	var rules strings.Builder
	for _, p := range []struct {
		name   string
		family uint8
	}{{"iptables", unix.NFPROTO_IPV4}, {"ip6tables", unix.NFPROTO_IPV6}} {
		listing, err := h.rulesOf(p.name, p.family)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&rules, "# %s\n%s", p.name, listing)
	}
	return rules.String(), nil
}

func (h *Host) rulesOf(program string, family uint8) (string, error) {
	list := func() (string, error) { return h.Run(program, "-S") }
	if h.variant != "nft" { // nf_tables does not have them
		return list()
	}
	return h.listed(program, func() ([]byte, error) { return heldOf(family) }, list)
}

// Ports returns the ports of bridges as the program bridge writes them, in JSON.
func (h *Host) Ports() (string, error) {
	return h.listed("ports", bridgePorts, func() (string, error) { return h.Run("bridge", "-j", "-d", "link", "show") })
}

// Outside is the network namespace of the world beyond the host, and its
// addresses.
const (
	OutsideIPv4 = "203.0.113.2"
	OutsideIPv6 = "2001:db8:ffff::2"
	HostIPv4    = "203.0.113.1" // the host's own, towards the outside
	HostIPv6    = "2001:db8:ffff::1"
	Uplink      = "uplink0"
)

// The commands of ip that make the link to the world beyond the host.
const (
	hostUplink = `link add ` + Uplink + ` type veth peer name eth0 netns outside
addr add ` + HostIPv4 + `/24 dev ` + Uplink + `
addr add ` + HostIPv6 + `/64 dev ` + Uplink + ` nodad
link set ` + Uplink + ` up
route add default via ` + OutsideIPv4 + `
route add default via ` + OutsideIPv6 + `
`
	outsideUplink = `addr add ` + OutsideIPv4 + `/24 dev eth0
addr add ` + OutsideIPv6 + `/64 dev eth0 nodad
link set eth0 up
route add default via ` + HostIPv4 + `
route add default via ` + HostIPv6 + `
`
)

// Outside makes the world beyond the host: a namespace behind a link of its own,
// which routes what it does not know to the host, and the other way round.
func (h *Host) Outside() (*Container, error) {
	c, err := h.namespace("outside")
	if err != nil {
		return nil, err
	}
	if _, err := h.Feed(hostUplink, "ip", "-batch", "-"); err != nil {
		return nil, err
	}
	if _, err := h.Feed(outsideUplink, "ip", "-n", "outside", "-batch", "-"); err != nil {
		return nil, err
	}
	c.IPv4, c.IPv6 = OutsideIPv4, OutsideIPv6
	return c, nil
}

// Self returns the host's own end of things, to probe from and to.
func (h *Host) Self() (*Container, error) {
	own, err := ns.GetCurrentNS()
	return &Container{Name: "host", ns: own, IPv4: HostIPv4, IPv6: HostIPv6}, err
}

// namespace makes a network namespace with a name that "ip netns" knows.
func (h *Host) namespace(name string) (*Container, error) {
	if _, err := h.Run("ip", "netns", "add", name); err != nil {
		return nil, err
	}
	c := &Container{Name: name, NetNS: "/run/netns/" + name}
	var err error
	if c.ns, err = ns.GetNS(c.NetNS); err != nil {
		return nil, err
	}
	_, err = h.Run("ip", "-n", name, "link", "set", "lo", "up")
	return c, err
}
