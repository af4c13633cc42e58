// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxChainName is what iptables accepts as the name of a chain, in bytes:
// XT_EXTENSION_MAXNAMELEN less the terminating zero.
const maxChainName = 28

// The plugin's own chains in the filter table of iptables. FORWARD jumps to three
// of them.
const (
	ChainForward         = "CNI-FORWARD"           // accepts the addresses of containers; upstream's
	ChainStage1          = "CNI-ISOLATION-STAGE-1" // upstream's
	ChainStage2          = "CNI-ISOLATION-STAGE-2" // upstream's
	ChainPublished       = "CNI-PUBLISHED"         // redirected connections
	ChainPublishedAccept = "CNI-PUBLISHED-ACCEPT"
)

// PluginChains lists them.
var PluginChains = []string{ChainForward, ChainStage1, ChainStage2, ChainPublished, ChainPublishedAccept}

// builtinNames are the chains and targets of iptables itself.
var builtinNames = []string{
	"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING",
	"ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE",
}

// isReserved reports whether a chain cannot be the operator's. CNI-FORWARD jumps
// to the operator's chain: a jump to one of the plugin's chains could loop, and a
// jump to a target would be a verdict on all traffic.
func isReserved(name string) bool {
	return slices.Contains(builtinNames, name) || slices.Contains(PluginChains, name)
}

// CheckChain returns an error that says why a name cannot be that of the admin
// chain, which is the operator's.
func CheckChain(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case !wordOf(name, "_.-") || name[0] == '-':
		return errors.New("is not a chain name: it may have letters, digits, '_', '.' and '-', and must not begin with '-'")
	case len(name) > maxChainName:
		return errors.New("is too long: a chain name has at most 28 bytes")
	case isReserved(name):
		return errors.New("is reserved: it must be a chain of the operator's own")
	}
	return nil
}

// CheckZone returns an error that says why a name cannot be that of a firewalld
// zone.
func CheckZone(name string) error {
	if name == "" || !wordOf(name, "_-/") || strings.ContainsAny(name[:1], "-/") {
		return errors.New("is not a firewalld zone name: it may have letters, digits, '_', '-' and '/', " +
			"and must not begin with '-' or '/'")
	}
	return nil
}

// wordOf reports whether a name has only ASCII letters, digits and the others.
func wordOf(name, others string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		return !letter && !('0' <= c && c <= '9') && !strings.ContainsRune(others, c)
	})
}

// maxInterfaceName is IFNAMSIZ less the terminating zero, in bytes.
const maxInterfaceName = 15

// IsInterface reports whether the kernel takes a name for an interface (dev_valid_name
// in net/core/dev.c).
func IsInterface(name string) bool { return checkKernelName(name) == nil }

func checkKernelName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxInterfaceName:
		return errors.New("is too long: an interface name has at most 15 bytes")
	case name == "." || name == "..":
		return errors.New("is not an interface name")
	case strings.ContainsAny(name, "/:"):
		return errors.New("contains '/' or ':'")
	case slices.ContainsFunc([]byte(name), isSpace):
		return errors.New("contains white space")
	}
	return nil
}

// isSpace is the kernel's isspace. It reads bytes as Latin-1, where 0xa0 is white space.
func isSpace(c byte) bool { return c >= '\t' && c <= '\r' || c == ' ' || c == 0xa0 || c == 0 }

// CheckInterface returns an error that says why a rule cannot name an interface. It
// accepts the names that the kernel accepts, less those that iptables would read as
// something else: a leading '-' begins an option, a leading '!' negates, a trailing '+'
// matches all names with that prefix, and quotes and backslashes quote.
func CheckInterface(name string) error {
	if err := checkKernelName(name); err != nil {
		return err
	}
	switch {
	case strings.ContainsAny(name, `"'\`):
		return errors.New(`contains one of " ' \`)
	case strings.ContainsAny(name[:1], "-!"):
		return errors.New("begins with '-' or '!'")
	case strings.HasSuffix(name, "+"):
		return errors.New("ends in '+', which iptables reads as a wildcard")
	case slices.ContainsFunc([]byte(name), func(c byte) bool { return c < ' ' || c == 0x7f }):
		return errors.New("contains a control character")
	}
	return nil
}

// CheckNames returns an error that names the first field of an attachment whose
// value must not be written into a rule.
func (a Attachment) CheckNames() error {
	for _, n := range []struct {
		key, value string
		check      func(string) error
		optional   bool
	}{
		{"bridge", a.Bridge, CheckInterface, true},
		{"port", a.Port, CheckInterface, true},
		{"iptablesAdminChainName", a.AdminChain, CheckChain, len(a.Addresses) == 0},
		{"firewalldZone", a.Zone, CheckZone, len(a.Addresses) == 0},
	} {
		if n.optional && n.value == "" {
			continue
		}
		if err := n.check(n.value); err != nil {
			return fmt.Errorf("%s %q %w", n.key, n.value, err)
		}
	}
	for _, name := range a.Interfaces {
		if err := CheckInterface(name); err != nil {
			return fmt.Errorf("interface %q %w", name, err)
		}
	}
	return nil
}
