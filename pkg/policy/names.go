// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxChainName is XT_EXTENSION_MAXNAMELEN less the terminating zero: what
// iptables takes for the name of a chain, in bytes.
const maxChainName = 28

// reservedChains cannot be the operator's: jumping to them from CNI-FORWARD
// would loop, or would not be a jump but a verdict on all traffic.
var reservedChains = []string{
	"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING",
	"ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE",
	"CNI-FORWARD", "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2", "CNI-PUBLISHED", "CNI-PUBLISHED-ACCEPT",
}

// CheckChain returns an error that says why a chain cannot be the operator's.
func CheckChain(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case !wordOf(name, "_.-") || name[0] == '-':
		return errors.New("is no chain name: it must be letters, digits, '_', '.' and '-', and not begin with '-'")
	case len(name) > maxChainName:
		return errors.New("is too long for a chain name: it must be of 28 bytes at most")
	case slices.Contains(reservedChains, name):
		return errors.New("is reserved: it must be a chain of the operator's own")
	}
	return nil
}

// CheckZone returns an error that says why a name is no firewalld zone's.
func CheckZone(name string) error {
	if name == "" || !wordOf(name, "_-/") || strings.ContainsAny(name[:1], "-/") {
		return errors.New("is no firewalld zone name: it must be letters, digits, '_', '-' and '/', and begin with none of the last two")
	}
	return nil
}

// wordOf reports whether a name is of ASCII letters, digits and the others.
func wordOf(name, others string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		return !letter && !('0' <= c && c <= '9') && !strings.ContainsRune(others, c)
	})
}

// maxInterfaceName is IFNAMSIZ less the terminating zero, in bytes.
const maxInterfaceName = 15

// CheckInterface returns an error that says why a name is no interface's. It
// accepts what the kernel does (dev_valid_name in net/core/dev.c), less what iptables would read otherwise: a leading '-' as an
// option, a leading '!' as a negation, a trailing '+' as "all that begin so",
// and quotes and backslashes as its own.
func CheckInterface(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxInterfaceName:
		return errors.New("is too long for an interface name: it must be of 15 bytes at most")
	case name == "." || name == "..":
		return errors.New("is no interface name")
	case strings.ContainsAny(name, "/:\"'\\"):
		return errors.New(`has one of / : " ' \ in it`)
	case strings.ContainsAny(name[:1], "-!"):
		return errors.New("begins with '-' or '!'")
	case strings.HasSuffix(name, "+"):
		return errors.New("ends in '+', which iptables reads as a wildcard")
	}
	for _, c := range []byte(name) {
		// 0xa0 is white space to the kernel, which reads bytes as Latin-1.
		if c <= ' ' || c == 0x7f || c == 0xa0 {
			return errors.New("has white space or a control character in it")
		}
	}
	return nil
}

// CheckNames returns an error that names the first field of an attachment that
// could not be written into a rule.
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
	return nil
}
