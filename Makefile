# One command each for what a person does with this repository. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Rust's installer puts cargo into the home; a shell opened before it ran does not know it yet.
# Test tools that are not on this machine are built into target/tools: nothing of yours changes.
TOOLS := $(CURDIR)/target/tools
export PATH := $(PATH):$(HOME)/.cargo/bin:$(TOOLS)/bin
DURATION ?= 600
FUZZ_SECONDS ?= 60
STAGE ?= stages/single-server.toml
NEXTEST_VERSION := 0.9.143
DENY_VERSION := 0.20

# `make test T='-E "test(deploy)"'` runs a part of the tests.
T ?=

.PHONY: help
help: ## List these targets
	@echo "Banyan: takes a web application from one server to many."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

.PHONY: run
run: deps build ## Install what is missing, build, and bring up the sample app (Ctrl-C stops it)
	@exec target/release/banyan --config $(STAGE) up

.PHONY: build
build: toolchain ## Build the binary and the sample app (release)
	@# The stages name the sample app as target/release/photos, wherever CARGO_TARGET_DIR points.
	@cargo build --release --locked --target-dir target -p banyan -p photos

# The summary of the tests comes last: everything that can fail before it does.
.PHONY: test
test: test-deps nextest ## Run every check and every test
	@echo "==> format";   cargo fmt --all --check
	@echo "==> clippy";   cargo clippy --workspace --all-targets --locked -- -D warnings
	@echo "==> docs";     RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	@echo "==> rules";    cargo run --quiet --locked -p xtask -- rules
	@if cargo deny --version >/dev/null 2>&1; then echo "==> cargo-deny"; $(MAKE) --no-print-directory deny; \
	  else echo "==> cargo-deny: skipped, not installed ('make deny' installs and runs it)"; fi
	@echo "==> build";    cargo build --workspace --all-targets --locked
	@echo "==> doctests"; cargo test --workspace --doc --locked --quiet
	@echo "==> tests";    BANYAN_BINARIES=built cargo nextest run --workspace --locked --profile ci $(T)

.PHONY: drill
drill: test-deps nextest ## The load and kill tests for longer: DURATION=600 (seconds); fuzz targets: FUZZ_SECONDS=60 each
	@cargo run --quiet --locked -p banyan-fuzz -- --seconds $(FUZZ_SECONDS)
	@cargo nextest run -p banyan-observe --cargo-profile drill --profile drill -E 'test(/drill_/)' --run-ignored only --no-capture
	@cargo nextest run -p banyan-pgproxy --cargo-profile drill --profile drill -E 'test(/drill_/)' --run-ignored only --no-capture
	@BANYAN_INTERLEAVINGS=1000000 cargo nextest run -p banyan-sdk --lib --cargo-profile drill --profile drill -E 'test(/random_interleavings/)' --no-capture
	@BANYAN_DRILL_SECONDS=$(DURATION) cargo nextest run -p banyan-e2e --profile drill -E 'test(/^drill::/)' --run-ignored only --no-capture

.PHONY: conformance
conformance: test-deps build nextest ## Outside suites: RealWorld and one for HTTP caches through the edge, PostgreSQL's own and drivers' through the proxy (needs the network)
	@cargo nextest run -p banyan-e2e --profile ci -E 'test(/realworld/)' --run-ignored all --no-capture
	@BANYAN=target/release/banyan tests/outside/caches.sh
	@BANYAN=target/release/banyan tests/outside/postgres.sh
	@BANYAN=target/release/banyan tests/outside/drivers.sh

.PHONY: dist
dist: toolchain ## Build the binary for servers, target/dist/banyan: cheaper per request, many minutes on the first time
	@cargo build --profile dist --locked --target-dir target -p banyan

.PHONY: bench
bench: deps dist ## Compare the edge with nginx and HAProxy, its cache with Varnish, the proxy with PgBouncer; the SDK's cache with none (bench/README.md says how)
	@BANYAN=target/dist/banyan exec bench/run.sh

.PHONY: doc
doc: toolchain ## Build the API documentation
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	@echo "open $${CARGO_TARGET_DIR:-target}/doc/banyan/index.html"

.PHONY: deny
deny: toolchain ## Licences, sources and version floors of the dependencies (cargo-deny; its build takes minutes)
	@cargo deny --version >/dev/null 2>&1 || env -u CARGO_TARGET_DIR cargo install --locked --debug --root '$(TOOLS)' cargo-deny --version '^$(DENY_VERSION)'
	@cargo deny --log-level error check licenses bans sources

.PHONY: clean
clean: ## Remove what was built (the state of running systems, .banyan/, stays)
	@cargo clean

.PHONY: toolchain deps test-deps nextest
toolchain:
	@scripts/check-rust.sh

deps: toolchain
	@scripts/install-deps.sh

test-deps: toolchain
	@scripts/install-deps.sh tests

nextest: toolchain
	@cargo nextest --version >/dev/null 2>&1 || { \
	  echo "cargo-nextest (the test runner) is missing: building $(NEXTEST_VERSION) from crates.io, a few minutes, once"; \
	  env -u CARGO_TARGET_DIR cargo install --locked --debug --root '$(TOOLS)' cargo-nextest --version $(NEXTEST_VERSION); }
