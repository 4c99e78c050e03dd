# minik8s: `make run` shows it, `make test` proves it. As root, on a fresh Debian.

DESTDIR ?=
PREFIX ?= /usr/local
CORPUS ?= ../shared/corpus
SHELL := /bin/bash
SECONDS ?= 60
# The simulation spends its time in this crate: optimised, ten thousand seeds take well under half the time. What it depends on is not built again.
SIMULATION = CARGO_INCREMENTAL=0 cargo test --config profile.dev.package.minik8s.opt-level=1 --config profile.dev.package.minik8s.codegen-units=16 --test simulation

.PHONY: help run stop test simulation test-matrix test-userns corpus vm-smoke vm-test soak mutations bench lint deny layout docs deb rpm tarball install uninstall

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  KEEP=1 leaves a run's containers running; CONTAINERD=/path.sock uses that containerd; DESTDIR, PREFIX and CORPUS as usual"

run: ## install what is missing, build, and run the three demo manifests as real containers
	@KEEP="$(KEEP)" CONTAINERD="$(CONTAINERD)" tests/lab/run.sh

stop: ## end what `make run KEEP=1` left running
	@tests/lab/stop.sh

test: ## install what is missing and run every test
	@tests/lab/test.sh

simulation: ## the whole agent in virtual time under seeded faults (SEEDS=10000, FIRST=0)
	$(SIMULATION) ten_thousand_seeds -- --nocapture

corpus: ## check the real manifests in CORPUS
	CORPUS="$(abspath $(CORPUS))" SHARES="$(SHARES)" cargo test --test corpus -- --ignored --nocapture

vm-smoke: ## run it under a real systemd with cgroup v2, in an emulated virtual machine (minutes)
	@VM="$(VM)" tests/vm/run.sh smoke.sh

vm-test: ## install, upgrade, reboot, power cut, bad input, remove and purge the packages in such a machine (many minutes; VM=lima or vagrant: that one)
	@VM="$(VM)" tests/vm/run.sh package.sh

test-matrix: ## the containerd tests against three releases of containerd and four OCI runtimes
	@tests/lab/matrix.sh

test-userns: ## pods with hostUsers: false, where the OCI runtime can and where it cannot
	@MATRIX="1.6 2.1" RUNTIMES="runc runc-forky crun-forky" FILTER="test(user_namespaces)" tests/lab/matrix.sh

soak: ## run the whole agent in virtual time on seeds nobody tried, for SECONDS (60); FIRST=n: from that seed on
	SECONDS="$(SECONDS)" $(SIMULATION) soak -- --ignored --nocapture

mutations: ## put deliberate bugs into a copy of the sources: the simulation must find each (ONLY=word: those with it in their name)
	@tests/simulation/mutations.sh

bench: ## measure against containerd's own floor, in one run (BENCH_FULL=1: the Job of 200 pods; BENCH_ONLY=one,many,jobs,rest,scale)
	packaging/layout/cargo bench --profile dist --bench agent

lint: deny ## formatting and clippy, warnings as errors; what is linked in
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

deny: ## licences, advisories, bans and sources of what is linked in (by cargo-deny, installed in target/ where it is missing)
	@tests/lab/deny.sh

layout: ## record anew which functions the agent runs, for the order that released programs have them in: that is most of its memory
	@packaging/layout/record

docs: ## bring docs/cli.md and README's table of commands up to date with the program
	cargo run --quiet --example cli-docs -- reference

deb: ## the Debian package, in target/packages (PROFILE=dist; BINARY: this one, built already; DEB_VERSION)
	@packaging/build.sh deb

rpm: ## the same as an RPM
	@packaging/build.sh rpm

tarball: ## one static program with an install.sh, for any Linux
	@packaging/build.sh tarball

install: ## install the binary and the systemd unit (DESTDIR, PREFIX; BINARY: this one, built already)
	[ -n "$(BINARY)" ] || packaging/layout/cargo build --profile dist
	install -D -m 0755 $(or $(BINARY),$${CARGO_TARGET_DIR:-target}/dist/minik8s) $(DESTDIR)$(PREFIX)/bin/minik8s
	install -d -m 0755 $(DESTDIR)/etc/minik8s
	install -d -m 0755 $(DESTDIR)/etc/systemd/system
	sed 's|/usr/bin/minik8s|$(PREFIX)/bin/minik8s|' systemd/minik8s.service >$(DESTDIR)/etc/systemd/system/minik8s.service
	chmod 0644 $(DESTDIR)/etc/systemd/system/minik8s.service
	@echo "now: systemctl daemon-reload && systemctl enable --now minik8s"

uninstall: ## take away what `make install` put there; manifests and state stay (DESTDIR, PREFIX)
	rm -f $(DESTDIR)$(PREFIX)/bin/minik8s $(DESTDIR)/etc/systemd/system/minik8s.service
	@echo "now: systemctl daemon-reload"
