// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

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
