// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFirewalldSettings runs firewalld with settings that its older versions do not know,
// and ignore. `make distros` has newer ones.
func TestFirewalldSettings(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][]string{
		// The table is closed to other programs, and firewalld drops IPv6 sources that are
		// routed by another link where it forwards, too.
		"owner": {"NftablesTableOwner=yes", "NftablesCounters=yes", "IPv6_rpfilter=strict-forward"},
		// What no forward of firewalld's own redirects is rejected, that of the host itself, too.
		"strict": {"StrictForwardPorts=yes"},
	} {
		t.Run(name, func(t *testing.T) {
			host.Test(t, func(t *testing.T, h *host.Host) {
				testFirewalldSettings(t, newRuled(t, h, "nftables", everyPlace...), settings)
			})
		})
	}
}

func testFirewalldSettings(t *testing.T, r *ruled, settings []string) {
	t.Helper()
	forwards := saveForwards(t, r.h)
	shell(t, r.h, "printf '%s\\n' "+strings.Join(settings, " ")+" >>/etc/firewalld/firewalld.conf; firewall-cmd --reload")
	forwards.restore(t) // 1.3 flushes them
	for _, line := range settings {
		name, _, _ := strings.Cut(line, "=")
		if must(r.f.Setting(name))(t) == "no" {
			t.Errorf("firewalld knows %s and does not heed it", line)
		}
	}
	strict := must(r.f.Setting("StrictForwardPorts"))(t) == "yes"
	r.protect(t, r.h)
	r.checkStrict(t, "with the plugin", strict)
	r.call(t, r.h.Firewall, "CHECK")
	status := must(r.h.Run("sh", "-c", r.h.Firewall+" status 2>&1"))(t)
	if warned := strings.Contains(status, "StrictForwardPorts"); warned != strict {
		t.Errorf("status warns of StrictForwardPorts: %t, and firewalld has it: %t\n%s", warned, strict, status)
	}
	losses["reload"](t, r.f)
	forwards.restore(t)
	must(r.h.Run(r.h.Firewall, "restore"))(t)
	r.checkStrict(t, "restored after a reload", strict)
}

// checkStrict is check, where firewalld may reject all that others redirect.
func (r *ruled) checkStrict(t *testing.T, when string, strict bool) {
	t.Helper()
	r.rejects = r.rejects || strict
	wanted := func(p probe) host.Verdict {
		if strict && p.path == published {
			return host.Blocked
		}
		return r.promised(p)
	}
	r.compare(t, when, wanted)
	r.checkExplained(t, when, wanted)
}
