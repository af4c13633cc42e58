# Builds, checks and installs the firewall plugin. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# Prerequisites are made in the order in which they stand.
.NOTPARALLEL:

# sudo's secure_path leaves out /usr/local/go/bin; a plain user's PATH, on Debian, sbin.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
# git refuses a checkout that somebody else owns (sudo, CI), and go's stamping of the revision fails with it.
export GOFLAGS := $(GOFLAGS) -buildvcs=false
# Where a distribution's go.env says "local", go would not fetch the toolchain that go.mod asks for.
export GOTOOLCHAIN ?= auto

# Where the plugin goes; if empty, to where container engines look on this host (scripts/plugin-directory). DESTDIR
# stands before it, for packagers, whose host has nothing to say.
CNI_BIN_DIR ?= $(if $(PREFIX),$(PREFIX)/bin,$(if $(DESTDIR),/opt/cni/bin))
# Where the rest goes that no package brought: a link to the plugin under the name of the operator's command, its page
# of the manual, completion for shells, and the watcher's unit.
SBIN_DIR ?= /usr/local/sbin
SHARE_DIR ?= /usr/local/share
UNIT_DIR ?= /usr/local/lib/systemd/system
UNIT := cni-firewall-watch.service
# The plugin, and beside it what is installed with it.
DOOR := plugins/meta/firewall
# VERSION=v1.2.3 replaces the version that the source states.
LDFLAGS := -s -w $(if $(VERSION),-X main.buildVersion=$(VERSION))

UPSTREAM := github.com/containernetworking/plugins
# Versions of upstream's plugin that hosts come with, before and after it wrote another comment to its rules (1.7).
FORMER := v1.1.1 v1.3.0 v1.6.2 v1.7.1
# Tools of a release: govulncheck, nfpm for packages, cyclonedx-gomod for the SBOM.
RELEASE_TOOLS := bin/tools/.release
# The parts of `test`, in order: what is about packets first, packaging last.
CHECKS := unit integration distros-quick e2e lint release-test
# A verdict on every way between networks, and no rule left behind, with each backend.
QUICK := ^TestVerdicts$$/^forward=DROP,bridge-nf-call=1,1$$|^TestLifecycle$$
# With the programs of other versions of Debian: those verdicts, and what depends most on the versions of programs.
DISTROS ?= bullseye trixie sid
DISTRO_QUICK := $(QUICK)|^TestFirewalldVerdicts$$|^TestFirewalldSettings$$|^TestFirewalldUpgrade$$
DISTRO_TESTS := $(DISTRO_QUICK)|^TestFirewalldForgets$$|^TestUnderway$$|^TestHealing$$|^TestHealingTable$$|^TestAdoptUpstream$$
# What reads and writes the kernel's bytes is tested on other architectures, too: s390x has the other byte order. An
# emulator takes too long for all tests, and the kernel that it shows to programs has no NETLINK_NETFILTER.
ARCHS ?= s390x arm64
ARCH_PACKAGES := ./pkg/nftables ./pkg/conntrack ./pkg/link
ARCH_TESTS := Wire|Golden|Legacy|Parse|Neighbor|Attr|Truncated|Foreign|Events|Keys
# On the kernels of Debian 11 to 13 and sid: what the tests of the build tag "kernels" are about, and those verdicts for a
# slow processor.
KERNELS ?= bullseye bookworm trixie sid
KERNEL_TESTS ?= ^TestKernelVerdicts$$|^TestVLANs$$|^TestGatewayOnBridge$$|^TestVRF$$|^TestDummyPort$$|^TestFlowtable$$
# With systemd as the first program.
SYSTEMD ?= trixie
LINTER_VERSION := v2.15.0
LINTER := bin/tools/golangci-lint-$(LINTER_VERSION)

.PHONY: build
build: need-build ## build bin/firewall, the plugin (default)
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/firewall ./$(DOOR)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-17s %s\n", $$1, $$2 }' Makefile

# need-TARGET installs what TARGET needs and this host lacks; for all but root, who may not, it names that.
# PREREQUISITES=: leaves that to you.
PREREQUISITES ?= scripts/prerequisites
need-%:
	@$(PREREQUISITES) $*

.PHONY: prerequisites
prerequisites: ## install what this host lacks for TARGETS, by default those of `test`
	$(PREREQUISITES) $(or $(TARGETS),$(CHECKS))

.PHONY: plugins
plugins: need-plugins bin/cni/.built ## build the CNI plugins that integration tests and demo chain with ours

# "tool" stands for all the tools of that go.mod. Upstream's firewall, there to test compatibility, moves to a
# directory of its own: in bin/cni it could be taken for ours. So does cnitool, which is no plugin.
bin/cni/.built: integration/tools/go.mod integration/tools/go.sum
	mkdir -p bin/cni bin/upstream
	version=$$(go -C integration/tools list -m -f '{{.Version}}' $(UPSTREAM)); \
	CGO_ENABLED=0 go -C integration/tools build -trimpath -o $(CURDIR)/bin/cni/ \
		-ldflags "-s -w -X $(UPSTREAM)/pkg/utils/buildversion.BuildVersion=$$version" tool
	mv bin/cni/firewall bin/cni/cnitool bin/upstream/
	touch $@

bin/upstream/%/firewall:
	GOBIN=$(CURDIR)/$(@D) CGO_ENABLED=0 go install -trimpath $(UPSTREAM)/plugins/meta/firewall@$*

.PHONY: buildkit
buildkit: need-buildkit bin/buildkit/.built ## build BuildKit, which no distribution has, for end-to-end tests

bin/buildkit/.built: integration/runtimes/buildkit/go.mod integration/runtimes/buildkit/go.sum
	mkdir -p bin/buildkit
	CGO_ENABLED=0 go -C integration/runtimes/buildkit build -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/buildkit/ tool
	touch $@

.PHONY: nerdctl
nerdctl: need-nerdctl bin/nerdctl/.built ## build nerdctl, which no distribution has, for end-to-end tests

bin/nerdctl/.built: $(addprefix integration/runtimes/nerdctl/,go.mod go.sum tigron/go.mod tigron/tig/t.go)
	mkdir -p bin/nerdctl
	CGO_ENABLED=0 go -C integration/runtimes/nerdctl build -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/nerdctl/ tool
	touch $@

# To tidy BuildKit's and nerdctl's go.mod, too, go would fetch what the tests of all their dependencies need: BuildKit's
# are 600 MB.
.PHONY: lint
lint: need-lint $(LINTER) ## check Go (format and vet too: .golangci.yml), shell scripts and go.mod files
	$(LINTER) run --allow-parallel-runners
	cd scripts/packaging && $(CURDIR)/$(LINTER) run --allow-parallel-runners
	cd integration/bench && $(CURDIR)/$(LINTER) run --allow-parallel-runners
	shellcheck -x $$(find scripts -maxdepth 1 -type f) .ci/run scripts/packaging/{place,postinst,prerm} \
		$(DOOR)/completions/cni-firewall.bash
	mandoc -T lint -W warning $(DOOR)/man/*
	$(MAKE) unit-check
	go mod tidy -diff
	go -C integration/tools mod tidy -diff
	go -C scripts/packaging mod tidy -diff
	go -C integration/bench mod tidy -diff

# systemd wants the program of a unit to be there. Exposure is counted from 0 to 100.
.PHONY: unit-check
unit-check: need-unit-check build ## check the watcher's unit, and how far it is locked in
	work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	sed 's,@BIN@,$(CURDIR)/bin,' $(DOOR)/systemd/$(UNIT).in >"$$work/$(UNIT)"; \
	systemd-analyze verify "$$work/$(UNIT)"; \
	systemd-analyze security --offline=yes --threshold=25 "$$work/$(UNIT)" >"$$work/report" || \
		{ cat "$$work/report"; exit 1; }

# Under its version's name, so that a new version is built and the old one not mistaken for it.
$(LINTER):
	GOBIN=$(CURDIR)/bin/tools CGO_ENABLED=0 \
		go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION)
	mv bin/tools/golangci-lint $@

# Tests run their own binary as iptables, and with -race a process sleeps a second before it exits unless told not to.
.PHONY: unit
unit: need-unit build ## run the tests that need no root
	scripts/targets-test
	scripts/install-test
	packages=$$(go list ./... | grep -v /integration); GORACE=atexit_sleep_ms=0 go test -race $$packages
	go -C integration/bench test ./...

.PHONY: archs
archs: need-archs ## run those about the kernel's bytes on other architectures, emulated; ARCHS
	for arch in $(ARCHS); do \
		CGO_ENABLED=0 GOARCH=$$arch go test -count=1 -exec qemu-$${arch/arm64/aarch64}-static -run '$(ARCH_TESTS)' $(ARCH_PACKAGES); \
	done

.PHONY: integration
integration: root need-integration build plugins $(FORMER:%=bin/upstream/%/firewall) ## run the tests on real hosts, each in namespaces of its own (root)
	packages=$$(go list ./integration/... | grep -v /runtimes); go test -count=1 -timeout 40m $$packages

.PHONY: integration-quick
integration-quick: root need-integration-quick build plugins ## run a few of them, in a minute or two (root)
	go test -count=1 -run '$(QUICK)' ./integration | awk '{ print } /no tests to run/ { bad = 1 } END { exit bad }'

.PHONY: distros
distros: root need-distros build plugins ## run a part of them with the programs of Debian 11, 13 and sid; DISTROS (root)
	CGO_ENABLED=0 go test -c -o bin/integration.test ./integration
	scripts/distros '$(DISTRO_TESTS)' $(DISTROS)

.PHONY: distros-quick
distros-quick: need-distros-quick ## run less of that, with those of Debian 13 (root)
	$(MAKE) distros DISTROS=trixie DISTRO_TESTS='$$(DISTRO_QUICK)'

.PHONY: kernels
kernels: root need-kernels build plugins ## run tests on the kernels of Debian 11 to 13 and sid, in qemu; KERNELS (root)
	CGO_ENABLED=0 go test -c -tags kernels -o bin/kernels.test ./integration
	scripts/kernels '$(KERNEL_TESTS)' $(KERNELS)

.PHONY: systemd
systemd: root need-systemd release-tools plugins ## install the package where systemd and firewalld run, in qemu; SYSTEMD (root)
	scripts/systemd $(SYSTEMD)

.PHONY: e2e
e2e: root need-e2e build plugins buildkit nerdctl ## have container engines use the plugin, each in namespaces of its own (root)
	go test -count=1 -timeout 40m ./integration/runtimes/...

.PHONY: test
test: root prerequisites build ## run all checks, as CI does (root)
	scripts/checks $(CHECKS)

.PHONY: fresh-test
fresh-test: root need-fresh-test ## build, demo and test on bare Debian hosts, as a new user would; SUITES (root)
	scripts/fresh-test $(SUITES)

.PHONY: release-tools
release-tools: need-release-tools $(RELEASE_TOOLS) ## build the tools of a release

# "tool" stands for all the tools of that go.mod. What nfpm compresses depends on its version of Go, too.
$(RELEASE_TOOLS): scripts/packaging/go.mod scripts/packaging/go.sum
	mkdir -p bin/tools
	GOTOOLCHAIN=$$(sed -n 's/^toolchain //p' scripts/packaging/go.mod) CGO_ENABLED=0 \
		go -C scripts/packaging build -trimpath -o $(CURDIR)/bin/tools/ tool
	touch $@

.PHONY: release
release: need-release release-tools vulncheck ## make a release in dist; VERSION and ARCHITECTURES (scripts/release)
	scripts/release

.PHONY: release-test
release-test: root need-release-test release-tools ## make a release twice, compare and install it (root)
	scripts/release-test

.PHONY: vulncheck
vulncheck: need-vulncheck release-tools ## look for known vulnerabilities
	scripts/vulncheck

.PHONY: demo
DEMO_NEEDS = need-demo$(findstring -firewalld,$(DEMO_FLAGS))
demo: root $(DEMO_NEEDS) build plugins ## show what the plugin does (root); DEMO_FLAGS=-nftables or -firewalld
	go build -o bin/demo ./integration/demo
	bin/demo $(DEMO_FLAGS)

# Its libraries are in a go.mod of its own, so that the plugin has nothing to do with them.
.PHONY: bench
BENCH_NEEDS = $(if $(findstring -nerdctl,$(BENCH_FLAGS)),need-bench-nerdctl nerdctl)
bench: root need-bench build plugins $(BENCH_NEEDS) ## measure the plugin against upstream's (root); BENCH_FLAGS='-h' lists flags
	CGO_ENABLED=0 go -C integration/bench build -trimpath -o $(CURDIR)/bin/bench .
	CGO_ENABLED=0 go -C integration/bench build -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/bench-bare ./bare
	CGO_ENABLED=0 go -C integration/bench build -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/bench-standin ./standin
	bin/bench $(BENCH_FLAGS)

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'network namespaces need root: sudo make $(MAKECMDGOALS)' >&2; exit 1; }

.PHONY: install
install: ## install bin/firewall, keeping upstream's, and what belongs to it; ISOLATION=yes: as isolation, too
	dir='$(CNI_BIN_DIR)'; [ -n '$(DESTDIR)' ] || dir=$$(scripts/plugin-directory choose "$$dir"); \
	scripts/install bin/firewall '$(DESTDIR)'"$$dir"; \
	[ '$(ISOLATION)' != yes ] || scripts/install bin/firewall '$(DESTDIR)'"$$dir" isolation; \
	sed "s,@BIN@,$$dir," $(DOOR)/systemd/$(UNIT).in | \
		install -Dm 0644 /dev/stdin '$(DESTDIR)$(UNIT_DIR)/$(UNIT)'; \
	mkdir -p '$(DESTDIR)$(SBIN_DIR)'; \
	ln -sfT "$$dir/firewall" '$(DESTDIR)$(SBIN_DIR)/cni-firewall'; \
	[ -n '$(DESTDIR)' ] || scripts/plugin-directory others "$$dir"
	install -Dm 0644 $(DOOR)/man/cni-firewall.8 '$(DESTDIR)$(SHARE_DIR)/man/man8/cni-firewall.8'
	install -Dm 0644 $(DOOR)/completions/cni-firewall.bash \
		'$(DESTDIR)$(SHARE_DIR)/bash-completion/completions/cni-firewall'
	install -Dm 0644 -t '$(DESTDIR)$(SHARE_DIR)/zsh/site-functions' $(DOOR)/completions/_cni-firewall
	install -Dm 0644 -t '$(DESTDIR)$(SHARE_DIR)/fish/vendor_completions.d' $(DOOR)/completions/cni-firewall.fish

.PHONY: uninstall
uninstall: ## remove our plugin and bring upstream's back, with its isolation
	[ -n '$(DESTDIR)' ] || [ ! -x '$(SBIN_DIR)/cni-firewall' ] || '$(SBIN_DIR)/cni-firewall' retire
	dirs='$(CNI_BIN_DIR)'; \
	for dir in $${dirs:-$$(scripts/plugin-directory installed '$(SBIN_DIR)/cni-firewall')}; do \
		scripts/uninstall '$(DESTDIR)'"$$dir"; \
		scripts/uninstall '$(DESTDIR)'"$$dir" isolation; \
	done
	rm -f '$(DESTDIR)$(UNIT_DIR)/$(UNIT)' '$(DESTDIR)$(SBIN_DIR)/cni-firewall' \
		'$(DESTDIR)$(SHARE_DIR)/man/man8/cni-firewall.8' \
		'$(DESTDIR)$(SHARE_DIR)/bash-completion/completions/cni-firewall' \
		'$(DESTDIR)$(SHARE_DIR)/zsh/site-functions/_cni-firewall' \
		'$(DESTDIR)$(SHARE_DIR)/fish/vendor_completions.d/cni-firewall.fish'

.PHONY: clean
clean: ## remove all that was built
	rm -rf bin
