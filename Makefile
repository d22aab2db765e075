# `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# What is set here goes before .cargo/config.toml, which names the FFmpeg of scripts/ffmpeg.sh.
ifeq ($(MP3_FFMPEG),system)
export PKG_CONFIG_PATH ?= /nonexistent
endif
SERVICES := auth gateway rabbitmq converter notif
.PHONY: manifests-check images images-test secrets compose-secrets minikube-up mysql-setup mongo-setup $(SERVICES:%=%-deploy) $(SERVICES:%=%-undeploy)
.PHONY: help run demo test check stack stack-down package newcomer-test bench fuzz-media faults crash-cells faults-selfcheck

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / { if (length($$1) > 16) { print "  " $$1; $$1 = "" } printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# All programs, compiled as for the tests: where a test is built too, Cargo chooses the features that tests ask of libraries,
# and both share one build of these.
PROGRAMS = --workspace --bins --test mutated

# Where the release build of the single process is.
MP3CONVERTER = $${CARGO_TARGET_DIR:-target}/release/mp3converter

run: ## Run the whole suite in one process, with nothing else installed
	@scripts/setup.sh run
	@scripts/cargo.sh build --locked --release --bin mp3converter
	@exec $(MP3CONVERTER) serve

demo: ## Do the main job once on a sample and show the result
	@scripts/setup.sh run
	@scripts/cargo.sh build --locked --release --bin mp3converter
	@scripts/demo.sh

test: ## Run all tests, against real servers started for it
	@scripts/setup.sh test
	@scripts/test.sh

check: ## Format, lints, layers, what is compiled twice, licences and sources of dependencies
	@scripts/setup.sh check
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked $(PROGRAMS) --lib --features $(CRASH_POINTS),$(SEEDED_BUGS) -- -D warnings
	@scripts/check-layers.sh
	@scripts/check-crates.py
	@scripts/configmaps.py --check
	@scripts/deny.sh

stack: ## Start the four services against real MariaDB, RabbitMQ, MongoDB and a mail sink
	@scripts/setup.sh test
	@scripts/cargo.sh build --locked $(PROGRAMS)
	@$${CARGO_TARGET_DIR:-target}/debug/stack up

stack-down: ## Stop what `make stack` started
	@cargo build --locked --quiet --package testkit --bin stack
	@$${CARGO_TARGET_DIR:-target}/debug/stack down

package: ## Make a Debian package of the single process in target/debian
	@scripts/setup.sh package
	@scripts/package.sh

newcomer-test: ## Prove documented commands in a bare Debian, each from nothing; TARGETS= ("run test", or all) and SUITE= (bookworm) choose
	@scripts/newcomer-test.sh $(TARGETS)

bench: ## Measure speed and memory against the ffmpeg command; SECTIONS= chooses, also `services`, `stalled` and `idle`
	@scripts/setup.sh test
	@scripts/bench.sh $(SECTIONS)

fuzz-media: ## Convert 5,000 damaged files in the sandboxed child; MUTATIONS= and SEED= choose
	@scripts/setup.sh test
	cargo test --locked --workspace --test mutated -- --mutations=$(or $(MUTATIONS),5000) --seed=$(or $(SEED),1)

# Features that nothing but `crash-cells` and `faults-selfcheck` is built with; `check` reads them.
CRASH_POINTS = gateway/crashpoints,converter/crashpoints,notification/crashpoints,standalone/crashpoints
SEEDED_BUGS = gateway/seeded-bugs,converter/seeded-bugs,notification/seeded-bugs

faults: ## Break everything while users upload, and check that nothing is lost; SEED=, JOBS=, FAULTS= and KIND= choose
	@scripts/setup.sh test
	@scripts/cargo.sh build --locked $(PROGRAMS)
	@cd $${CARGO_TARGET_DIR:-target} && mkdir -p campaign && cp debug/{faults,auth,gateway,converter,notification,mp3converter} campaign/
	@$${CARGO_TARGET_DIR:-target}/campaign/faults

crash-cells: ## Fail once at every step border in every way, and check that each job ends all the same; SEED=, CELLS= and CELL= choose
	@scripts/setup.sh test
	@scripts/cargo.sh build --locked $(PROGRAMS) --features $(CRASH_POINTS)
	@cd $${CARGO_TARGET_DIR:-target} && mkdir -p crashpoints && cp debug/{faults,auth,gateway,converter,notification,mp3converter} crashpoints/
	@$${CARGO_TARGET_DIR:-target}/crashpoints/faults cells

faults-selfcheck: ## Put bugs in on purpose, and show that each is found; BUG= chooses
	@scripts/setup.sh test
	@scripts/cargo.sh build --locked $(PROGRAMS) --features $(CRASH_POINTS),$(SEEDED_BUGS)
	@cd $${CARGO_TARGET_DIR:-target} && mkdir -p seeded-bugs && cp debug/{faults,auth,gateway,converter,notification} seeded-bugs/
	@$${CARGO_TARGET_DIR:-target}/seeded-bugs/faults selfcheck

manifests-check: ## Check the manifests without a cluster: schemas, policies, and against the binaries themselves
	@scripts/setup.sh manifests
	@cargo test --locked --workspace --no-run --quiet
	@.cache/manifests/bin/python scripts/manifests/check.py
	@.cache/manifests/bin/python scripts/manifests/mistakes.py

images: ## Build the images with docker, podman or buildah (BUILDER= chooses)
	@scripts/images.sh

images-test: ## Build the images on bases made here, and run them against real servers; needs root
	@scripts/images-test.sh

secrets: ## Make the Secrets that the manifests name, in kubectl's cluster, or as files in OUT=
	@scripts/make-secrets.py

compose-secrets: ## Make the files in .secrets that compose.yaml reads
	@PLAIN=.secrets scripts/make-secrets.py

minikube-up: ## Bring everything up on minikube and print the lines to paste
	@scripts/cluster.sh minikube-up

mysql-setup: ## Deploy MySQL and load init.sql
	@scripts/cluster.sh mysql-setup

mongo-setup: ## Deploy MongoDB and wait until its replica set is there
	@scripts/cluster.sh mongo-setup

auth-deploy gateway-deploy rabbitmq-deploy converter-deploy notif-deploy: %-deploy: ## Deploy one service: its image where minikube runs, its manifests, and wait
	@scripts/cluster.sh deploy $*

auth-undeploy gateway-undeploy rabbitmq-undeploy converter-undeploy notif-undeploy: %-undeploy: ## Take one service away; volumes and Secrets stay
	@scripts/cluster.sh undeploy $*
