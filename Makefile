# `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help run demo test check lint stack stack-down newcomer-test bench fuzz-media

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run the whole suite in one process, with nothing else installed
	@scripts/setup.sh run
	cargo run --locked --release --bin mp3converter -- serve

demo: ## Do the main job once on a sample and show the result
	@scripts/setup.sh run
	@cargo build --locked --release --bin mp3converter
	@scripts/demo.sh

test: ## Run all tests, against real servers started for it
	@scripts/setup.sh test
	@scripts/test.sh

check: ## Format, lints, layers, licences and sources of dependencies
	@scripts/setup.sh check
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@scripts/check-layers.sh
	@scripts/deny.sh

stack: ## Start the four services against real MariaDB, RabbitMQ, MongoDB and a mail sink
	@scripts/setup.sh test
	@cargo build --locked --workspace --bins
	@target/debug/stack up

stack-down: ## Stop what `make stack` started
	@cargo build --locked --quiet --package testkit --bin stack
	@target/debug/stack down

newcomer-test: ## Prove the two README commands in a bare Debian 12
	@scripts/newcomer-test.sh

bench: ## Measure speed and memory against the ffmpeg command; SECTIONS= chooses, `services` and `flat` take minutes
	@scripts/setup.sh test
	@cargo build --locked --release --workspace --bins
	@scripts/bench.sh $(SECTIONS)

fuzz-media: ## Convert 5,000 damaged files in the sandboxed child; MUTATIONS= and SEED= choose
	@scripts/setup.sh test
	cargo test --locked --release --package media --test mutated -- --mutations=$(or $(MUTATIONS),5000) --seed=$(or $(SEED),1)
