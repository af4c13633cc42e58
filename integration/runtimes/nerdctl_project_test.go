// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"fmt"
	"os"
	"path/filepath"
)

// service is one of a project. As process 1 it would not end by SIGTERM.
const service = `  %s:
    image: image
    pull_policy: never
    stop_signal: SIGKILL
    command: ["/bin/nc", "-ll", "-p", "%d", "-e", "/bin/echo", "-n", "%s"]
`

// runProjects has compose run two projects.
func (n *nerdctl) runProjects() {
	n.t.Helper()
	web := fmt.Sprintf(service, "web", containerPort, "c1-web-1") + fmt.Sprintf("    ports: [\"%d:%d\"]\n", webPort, containerPort)
	for project, services := range map[string]string{
		"c1": web + fmt.Sprintf(service, "client", containerPort, "c1-client-1"),
		"c2": fmt.Sprintf(service, "web", containerPort, "c2-web-1"),
	} {
		ok(n.t, os.MkdirAll(filepath.Dir(composeFile(project)), 0o755))
		ok(n.t, os.WriteFile(composeFile(project), []byte("services:\n"+services), 0o644))
		n.compose(project, "create")
		n.setBackend(project + "_default")
		n.compose(project, "start")
	}
	for _, name := range composed {
		n.look(name)
	}
}

func composeFile(project string) string { return "/run/" + project + "/compose.yaml" }

func (n *nerdctl) compose(project, command string) {
	n.t.Helper()
	n.run("compose", "--file", composeFile(project), command)
}

var composed = []string{"c1-web-1", "c1-client-1", "c2-web-1"}

func (n *nerdctl) removeProjects() {
	n.t.Helper()
	n.detach(n.t, composed...)
	n.compose("c1", "down")
	n.compose("c2", "down")
}
