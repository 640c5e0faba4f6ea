# The one door: every routine task is a target here, and .ci/run calls the same targets.
# Needs Rust, Python 3.10 or newer and Go; whatever else a target wants, it installs under target/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
LINT := target/lint-tools/bin
# Shell scripts that shellcheck reads.
SCRIPTS := .ci/run $(wildcard scripts/*.sh)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- Run -----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: ## Build, then play an outage over two simulated regions (DEMO_ARGS=--once: end after it)
	@echo 'Building; on a fresh clone this takes about two minutes on two cores.'
	$(CARGO) build --locked --bin sealane
	$(CARGO) run --locked --quiet --bin sealane -- demo $(DEMO_ARGS)

.PHONY: build
build: ## Build the release binary, target/release/sealane
	$(CARGO) build --locked --release --bin sealane

.PHONY: docker
docker: ## Build the container image sealane:latest
	docker build --tag sealane:latest \
	  --build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
	  --build-arg REVISION="$$(git rev-parse HEAD)" .

# --- Test ----------------------------------------------------------------------------------------------------

.PHONY: test
test: test-rust test-clients test-examples ## Run the Rust, Python and Go suites

.PHONY: test-rust
test-rust: ## Run the Rust suites: unit, integration and doc tests
	$(CARGO) test --locked --workspace

.PHONY: faults
faults: ## Run the fault catalogue on real sockets, with the rows that take minutes
	$(CARGO) test --locked --test it faults:: -- --include-ignored --nocapture --test-threads=2
	$(CARGO) test --locked --test it ingest_cli:: -- --ignored

.PHONY: test-clients
test-clients: ## Run the Python and Go clients against the real server, and the openai SDK against the simulator
	$(CARGO) build --locked --bin sealane
	scripts/test-clients.sh
	scripts/test-openai.sh

.PHONY: test-examples
test-examples: ## Run the knowledge engine's tests: both of its workflows survive the primary's death
	$(CARGO) build --locked --bin sealane
	scripts/test-examples.sh

.PHONY: acceptance-jaeger
acceptance-jaeger: ## Find a failover of traced Python and Go clients in a real Jaeger, built once with Go (not part of CI)
	$(CARGO) build --locked --bin sealane
	scripts/acceptance-jaeger.sh

.PHONY: acceptance-models
acceptance-models: ## Kill regions of real small models, built once with a C++ compiler (not part of CI)
	$(CARGO) build --locked --bin sealane
	scripts/acceptance-models.sh

.PHONY: sim
sim: ## Play outages against the router, 10 000 seeds of 2 h, and print which claims hold (ARGS='--seeds 500')
	$(CARGO) run --locked --quiet --release -p sealane-sim -- $(ARGS)

.PHONY: residency
residency: ## Play a million random cases against the policies and print what they met (half a minute)
	SEALANE_RESIDENCY_CASES=1000000 $(CARGO) test --locked -p sealane-core residency -- --nocapture

.PHONY: bench
bench: ## Measure the release binary on loopback beside nginx and a minimal gRPC gateway (ARGS=--quick)
	scripts/bench.sh $(ARGS)

.PHONY: mutants
mutants: ## Change the core in every small way and list what no test notices (an idle hour; not part of CI; docs/mutation.md)
	$(CARGO) install --locked --quiet --root target/mutation --version 27.1.0 cargo-mutants
	PROPTEST_CASES=16 PROPTEST_MAX_SHRINK_ITERS=0 SEALANE_RESIDENCY_CASES=500 PATH="$(CURDIR)/target/mutation/bin:$$PATH" \
	  $(CARGO) mutants --package sealane-core --jobs 2 --shuffle --timeout 60 --build-timeout 300 --output target/mutation \
	  --cargo-arg=--lib --cargo-arg=--config=profile.dev.package.sealane-core.opt-level=0 \
	  --cargo-arg=--config=profile.dev.debug=0 -- --locked -- --skip model::

# --- Check ---------------------------------------------------------------------------------------------------

.PHONY: check
check: lint test ## Everything that CI checks

.PHONY: lint
lint: lint-format lint-dependencies lint-proto lint-clients lint-files lint-alerts lint-rust lint-docs ## All static checks

.PHONY: lint-format
lint-format: ## Rust is formatted
	$(CARGO) fmt --all --check

.PHONY: lint-rust
lint-rust: ## Clippy has nothing to say
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

.PHONY: lint-docs
lint-docs: ## Rust documentation has no broken links
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked --no-deps --package sealane --package sealane-core --lib

.PHONY: lint-dependencies
lint-dependencies: lint-tools ## Licences, banned crates, duplicates and sources are as deny.toml says
	$(LINT)/python -m doctest scripts/check-dependencies.py
	$(LINT)/python scripts/check-dependencies.py

.PHONY: lint-proto
lint-proto: lint-tools ## Protobuf follows buf's STANDARD and COMMENTS rules and is formatted
	cd proto && ../$(LINT)/buf lint
	cd proto && ../$(LINT)/buf format --diff --exit-code

.PHONY: lint-clients
lint-clients: ## The committed Python and Go stubs are what proto/ generates
	scripts/generate-clients.sh --check

.PHONY: lint-files
lint-files: lint-tools ## Shell scripts and the Dockerfile are sound
	$(LINT)/shellcheck $(SCRIPTS)
	$(LINT)/hadolint Dockerfile

.PHONY: lint-alerts
lint-alerts: ## Alert rules and dashboard queries are sound, and the rules' unit tests pass
	scripts/lint-alerts.sh

.PHONY: lint-tools
lint-tools:
	@scripts/install-lint-tools.sh

# --- Write ---------------------------------------------------------------------------------------------------

.PHONY: fmt
fmt: lint-tools ## Format Rust and Protobuf
	$(CARGO) fmt --all
	cd proto && ../$(LINT)/buf format --write

.PHONY: generate
generate: ## Generate the Python and Go stubs from proto/
	scripts/generate-clients.sh

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf target
