// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"errors"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/store"
)

// explanation is what an error means to the operator, and the command that cures
// it. Words in capitals stand for what the error names; DETAIL for its own words.
type explanation struct {
	of       func(error) (operands []string, is bool) // each operand behind its word
	sentence string
	cure     string
}

// explanations are in the order in which an error is looked for. The README has
// the same table.
var explanations = []explanation{
	{
		is(iptables.ErrNotInstalled),
		"the backend iptables lacks a program, and can neither see nor write its rules (dnf's package is iptables-nft): DETAIL",
		"apt-get install iptables",
	}, {
		is(nftables.ErrUnsupported),
		"the kernel lacks nf_tables, which the backends nftables and firewalld need: DETAIL",
		"modprobe nf_tables",
	}, {
		is(nftables.ErrForeign),
		"a table of somebody else's has the name of the plugin's: DETAIL",
		"nft delete table inet cni_firewall",
	}, {
		is(firewalld.ErrNotRunning),
		"firewalld does not run, and so nothing holds what it was told: DETAIL",
		"systemctl start firewalld",
	}, {
		is(firewalld.ErrNoAnswer),
		"firewalld runs and does not answer: DETAIL",
		"systemctl restart firewalld",
	}, {
		is(firewalld.ErrElsewhere),
		`firewalld does not filter this network namespace (set "backend": "nftables" in the conflist and add the containers again): DETAIL`,
		cureReload,
	}, {
		is(firewalld.ErrNotAuthorized),
		`firewalld does not serve this user (set "backend": "nftables" in the conflist and add the containers again): DETAIL`,
		cureReload,
	}, {
		is(firewalld.ErrStrict),
		"firewalld lets through no published port that it does not know: DETAIL",
		"sed -i 's/^StrictForwardPorts=.*/StrictForwardPorts=no/' /etc/firewalld/firewalld.conf && firewall-cmd --reload && " + cureRestore,
	}, {
		is(ErrCutOff),
		"chain FORWARD has the policy DROP, as ufw and Docker set it, so that containers without rules are cut off: DETAIL",
		cureRestore,
	}, {
		isForward,
		"chain FORWARD of PROGRAM has the policy DROP, as ufw and Docker set it, which no accept of another table overrides " +
			`(or set "backend": "iptables" in the conflist and add the containers again): DETAIL`,
		"PROGRAM -P FORWARD ACCEPT",
	}, {
		isOverruling,
		"another table drops what the plugin accepts (or accept it there as well): DETAIL",
		"nft chain FAMILY TABLE CHAIN '{ policy accept; }'",
	}, {
		is(ErrGone),
		"a bridge is gone, with the network of its containers, and their records and rules are left: DETAIL",
		cureRestore,
	}, {
		is(link.ErrFlag),
		"br_netfilter was switched on or off, so that containers of an isolated bridge reach each other, or no published port: DETAIL",
		cureRestore,
	}, {
		isNotForwarding,
		"the host forwards nothing: DETAIL",
		"sysctl -w SYSCTL=1",
	}, {
		is(store.ErrNewer),
		"a record is of a later version of the plugin, which was taken away (install it again): DETAIL",
		"make install",
	}, {
		isFile,
		"a record is damaged, or the file is none; its bridge stays isolated, and its container has to be added again (if it is gone, remove the file): DETAIL",
		"rm FILE",
	}, {
		is(ErrDiffers),
		"rules were flushed, or changed by somebody else: DETAIL",
		cureRestore,
	},
}

const (
	cureRestore = "cni-firewall restore"
	cureReload  = "podman network reload --all"
)

// Kinds of errors that are found on the host as a whole.
var (
	ErrGone    = errors.New("gone")
	ErrDiffers = errors.New("the kernel does not hold what it should")
	ErrCutOff  = errors.New("cut off")
)

// kindred is an error of a kind that its words need not tell.
type kindred struct {
	error
	kind error
}

func (k kindred) Unwrap() []error { return []error{k.error, k.kind} }

// WithKind gives an error, if it is one, a kind.
func WithKind(kind, err error) error {
	if err == nil {
		return nil
	}
	return kindred{err, kind}
}

func is(kind error) func(error) ([]string, bool) {
	return func(err error) ([]string, bool) { return nil, errors.Is(err, kind) }
}

func isForward(err error) ([]string, bool) {
	var o *nftables.ForwardBlocker
	if !errors.As(err, &o) || o.Program == "" {
		return nil, false
	}
	return []string{"PROGRAM", o.Program}, true
}

func isOverruling(err error) ([]string, bool) {
	var o *nftables.ForwardBlocker
	if !errors.As(err, &o) {
		return nil, false
	}
	return []string{"FAMILY", o.Family, "TABLE", o.Table, "CHAIN", o.Chain}, true
}

func isNotForwarding(err error) ([]string, bool) {
	var n notForwarding
	is := errors.As(err, &n)
	return []string{"SYSCTL", string(n)}, is
}

func isFile(err error) ([]string, bool) {
	var f *store.FileError
	if !errors.As(err, &f) {
		return nil, false
	}
	return []string{"FILE", quoted(f.File)}, true
}
