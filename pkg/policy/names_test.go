// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
)

func TestCheckChain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"CNI-ADMIN", "a", "My_chain.1", strings.Repeat("a", 28)} {
		if err := CheckChain(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, says := range map[string]string{
		"": "is empty", "-j": "is not a chain name", "a b": "is not a chain name",
		"a\nb": "is not a chain name", "ä": "is not a chain name",
		strings.Repeat("a", 29): "is too long",
		"FORWARD":               "is reserved", "POSTROUTING": "is reserved",
		"ACCEPT": "is reserved", "NFQUEUE": "is reserved",
		"CNI-FORWARD": "is reserved", "CNI-ISOLATION-STAGE-1": "is reserved", "CNI-ISOLATION-STAGE-2": "is reserved",
		"CNI-PUBLISHED": "is reserved", "CNI-PUBLISHED-ACCEPT": "is reserved",
	} {
		if err := CheckChain(name); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%q: got error %v, want %q", name, err, says)
		}
	}
}

func TestCheckInterface(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cni0", "br-0123456789ab", "a", "eth0.100", "br@x", "brücke"} {
		if err := CheckInterface(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "0123456789abcdef", "a/b", "a:b", "a b", "a\nb", "a\x00b", "a\tb", "a\x7f",
		"-j", "!x", "br+", `a"b`, `a\b`, "a'b", "\u00a0x", "\u00e0",
	} {
		if err := CheckInterface(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

// TestIsInterface tells names that the kernel can have, and rules must not, from those
// that no interface has.
func TestIsInterface(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cni0", "br+", "-j", "!x", `a"b`, `a\b`, "a'b", "a\x7f", "a\x01", "0123456789abcde"} {
		if !IsInterface(name) {
			t.Errorf("%q is no interface's name", name)
		}
	}
	for _, name := range []string{
		"", ".", "..", "0123456789abcdef", "0000:af:06.0", "/run/x", "a b", "a\nb", "a\tb", "a\vb", "a\x00b", "a\xa0b",
	} {
		if IsInterface(name) {
			t.Errorf("%q is an interface's name", name)
		}
	}
}
