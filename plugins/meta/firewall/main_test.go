// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cni-isolation/firewall/pkg/iptables"
)

func TestMain(m *testing.M) {
	hostFile = os.Getenv("HOST_FILE") // the machine's own is not the scripts'
	iptables.UsualDirectories = nil   // the host's own are not the scripts'
	testscript.Main(m, map[string]func(){"firewall": main, "cni-firewall": main})
}

// TestScripts runs the real command as a runtime does. The programs behind it
// are small scripts, so that neither root nor iptables is needed.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CNI_CONTAINERID", "c1")
			env.Setenv("CNI_IFNAME", "eth0")
			env.Setenv("CNI_NETNS", "/nowhere")
			env.Setenv("CNI_PATH", "/nowhere")
			env.Setenv("HOST_FILE", filepath.Join(env.WorkDir, "host", "config.json"))
			// The command itself, for scripts that take everything out of PATH.
			programs, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
			env.Setenv("FIREWALL", filepath.Join(programs, "firewall"))
			return os.Mkdir(env.WorkDir+"/empty", 0o700)
		},
	})
}
