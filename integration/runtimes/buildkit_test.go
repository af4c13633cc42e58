// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

const buildkitConf = `root = "/var/lib/buildkit"
[grpc]
  address = ["unix:///run/buildkit/buildkitd.sock"]
[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  networkMode = "cni"
  cniConfigPath = "%s"
  cniBinaryPath = "%s"
  defaultCgroupParent = "%s"
`

// dockerfile has a step of a build open connections, and keep what answers.
const dockerfile = `FROM scratch AS build
COPY . /
RUN ["/bin/sh", "-c", "mkdir /answers; %s true"]
FROM scratch
COPY --from=build /answers /
`

// TestBuildKit has a build's step, on the network blue, reach out. A container
// on the network red, which is not BuildKit's, has a published port.
func TestBuildKit(t *testing.T) { onEachKind(t, testBuildKit) }

func testBuildKit(t *testing.T, h *host.Host, k kind) {
	b := newBuildkit(t, h)
	all := map[string]string{"direct": other, "published": other, "outside": theOutside}
	blocked := map[string]string{"direct": "", "published": other, "outside": theOutside}

	b.round("open", all)
	keepsOnly(t, h, k.keeps)
	settled := kernel(t, h, masquerading...)
	b.round("same-bridge", blocked)
	same(t, settled, kernel(t, h, masquerading...), "after the build and the container")
}

// buildkit is BuildKit on a host, with a container that is not its own.
type buildkit struct {
	*boxes
	cni *libcni.CNIConfig
}

func newBuildkit(t *testing.T, h *host.Host) *buildkit {
	t.Helper()
	b := &buildkit{newBoxes(t, h), libcni.NewCNIConfigWithCacheDir([]string{host.PluginDir}, "/run/libcni", nil)}
	ok(t, os.MkdirAll("/run/build", 0o755))
	return b
}

// round runs a container on the one network, and a build on the other, and ends
// the test unless the build gets these answers.
func (b *buildkit) round(policy string, want map[string]string) {
	b.t.Helper()
	red := network{name: "red", policy: policy}
	list := must(libcni.ConfListFromBytes(red.plain()))(b.t)
	conf := &libcni.RuntimeConf{ContainerID: other, NetNS: b.make(other), IfName: "eth0", CapabilityArgs: map[string]any{
		"portMappings": []map[string]any{{"hostPort": hostPort, "containerPort": containerPort, "protocol": "tcp"}},
	}}
	must(b.cni.AddNetworkList(context.Background(), list, conf))(b.t)
	b.serve(other)
	toOther := []way{{from: theHost, to: other}, {from: theOutside, to: other, published: true}}
	b.checkThe(b.t, toOther, open, "before the build")

	blue := network{name: "blue", policy: policy}
	ok(b.t, os.WriteFile(host.ConflistDir+"/blue.conflist", blue.plain(), 0o644))
	stop := b.daemon()
	if diff := cmp.Diff(want, b.build()); diff != "" {
		b.t.Fatalf("who answers a step of a build, %s (-want +got):\n%s", policy, diff)
	}
	b.checkThe(b.t, toOther, open, "after the build")
	// BuildKit keeps the network of a step for the next one, until its own end.
	stop()
	if left := records(b.t); len(left) != 1 {
		b.t.Fatalf("more than the container is left: %q", left)
	}
	ok(b.t, b.cni.DelNetworkList(context.Background(), list, conf))
	b.end(other)
	removeBridges(b.t, b.h, red.bridge(), blue.bridge())
}

// daemon starts buildkitd, which reads its network when it starts, and returns
// what ends it.
func (b *buildkit) daemon() (stop func()) {
	b.t.Helper()
	const conf, logs = "/run/buildkitd.toml", "/run/buildkitd.log"
	text := fmt.Sprintf(buildkitConf, host.ConflistDir+"/blue.conflist", host.PluginDir, b.h.Cgroup)
	ok(b.t, os.WriteFile(conf, []byte(text), 0o644))
	log := must(os.Create(logs))(b.t)
	daemon := exec.Command(filepath.Join(b.h.BuildKit(), "buildkitd"), "--config", conf)
	daemon.Stdout, daemon.Stderr = log, log
	ok(b.t, daemon.Start())
	err := host.Await(func() error {
		_, err := b.buildctl("debug", "workers")
		return err
	})
	if err != nil {
		b.t.Fatalf("buildkitd does not answer: %v: %s", err, must(os.ReadFile(logs))(b.t))
	}
	return func() {
		ok(b.t, daemon.Process.Signal(syscall.SIGTERM))
		_ = daemon.Wait() // how it ended is no matter
	}
}

func (b *buildkit) buildctl(args ...string) (string, error) {
	return b.h.Run(filepath.Join(b.h.BuildKit(), "buildctl"), args...)
}

// build returns who answers.
func (b *buildkit) build() map[string]string {
	b.t.Helper()
	var steps strings.Builder
	for name, address := range map[string]string{
		"direct":    fmt.Sprintf("%s %d", b.world[other].IPv4, containerPort),
		"published": fmt.Sprintf("%s %d", host.HostIPv4, hostPort),
		"outside":   fmt.Sprintf("%s %d", host.OutsideIPv4, containerPort),
	} {
		// On a busy machine an answer may take longer than one attempt.
		fmt.Fprintf(&steps, "for n in 1 2 3; do timeout 3 nc %s </dev/null >/answers/%s; test -s /answers/%[2]s && break; done; ", address, name)
	}
	ok(b.t, os.WriteFile("/run/build/Dockerfile", fmt.Appendf(nil, dockerfile, steps.String()), 0o644))
	must(b.buildctl("build", "--no-cache", "--frontend", "dockerfile.v0",
		"--local", "dockerfile=/run/build", "--local", "context="+b.image, "--output", "type=local,dest=/run/build/answers"))(b.t)
	got := map[string]string{}
	for _, path := range must(filepath.Glob("/run/build/answers/*"))(b.t) {
		got[filepath.Base(path)] = string(must(os.ReadFile(path))(b.t))
	}
	return got
}
