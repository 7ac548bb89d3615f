# Pi In The Sky. `make` lists the targets. Only `make setup` uses the network, and `pins` and `image`, which nobody needs
# for anything else; the others call setup when it has not run.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first Python 3.11 or newer; `make PYTHON=… setup` takes another.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(p))))
BIN := .venv/bin
# The machine's Node.js, or the one that `make setup` has brought.
NPM := PATH="$(CURDIR)/.venvs/node/bin:$$PATH" npm --prefix console
STAMP := .venv/.ready

CAMERA ?=
DATA ?= run-data
SOAK ?= long
OWNER ?=
SETTINGS ?=
PYTEST := $(BIN)/python -m pytest
# Most of the long tests wait, so two for each core; tests/support/scheduling.py says which run where and when.
PARALLEL := -n $(shell expr 2 \* "$$(getconf _NPROCESSORS_ONLN)") --dist loadscope
COVERAGE := --cov --cov-report= --cov-fail-under=0

# `make image`: where it goes, for what machines, and whether it is pushed there.
IMAGE ?= pinthesky
PLATFORMS ?=
PUSH ?=

.PHONY: help setup run test test-plain check house soak bench images pins wheel image release deploy diff destroy clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' \
		| while IFS='|' read -r name what; do printf '  make %-11s %s\n' "$$name" "$$what"; done

setup: $(STAMP) ## make the environments and install what is missing (the only target that uses the network)

$(STAMP): setup.py tools/prepare.py $(wildcard service/requirements/*.txt) $(wildcard infra_cdk/requirements/*.txt) tools/picamera2_rootfs.sh tests/picamera2/virtual.yaml console/package-lock.json infra_cdk/package-lock.json
	@[[ -n "$(PYTHON)" ]] || { echo "setup: no Python 3.11 or newer found. On Debian: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) tools/prepare.py
	@touch $@

run: $(STAMP) ## a hub and two cameras, and yours: CAMERA=/dev/video0, CAMERA=rtsp://…; Ctrl-C ends it
	@CAMERA="$(CAMERA)" DATA="$(DATA)" exec $(BIN)/python -m tools.run_demo

test: $(STAMP) ## all that must hold, with the coverage of the package
	@$(BIN)/coverage erase
	$(PYTEST) -m "not soak" $(PARALLEL) $(COVERAGE)
	$(BIN)/coverage report
	$(NPM) test

test-plain: $(STAMP) ## the same tests in one process, without coverage; ONLY=tests/device for some of them
	$(PYTEST) -m "not soak" $(ONLY)

check: $(STAMP) ## lint, format, types, shell scripts and the house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@command -v shellcheck >/dev/null || { echo "check: shellcheck is missing: sudo apt-get install shellcheck" >&2; exit 1; }
	shellcheck .ci/run tools/*.sh service/*.sh service/handlers/* service/sd-card/*.sh service/container/*.sh
	$(BIN)/python -m tools.hash_pins --check
	$(NPM) run check
	$(PYTEST) -q tests/test_house_rules.py tests/test_images.py

console: $(STAMP) ## build the console again, after a change in console/ or of the API
	$(BIN)/python -m tools.openapi_document
	$(NPM) run generate
	$(NPM) run build

soak: $(STAMP) ## hundreds of kills, millions of fuzzed inputs (SOAK=short for a taste)
	SOAK=$(SOAK) HYPOTHESIS_PROFILE=soak $(PYTEST) -m soak --timeout 3600

bench: $(STAMP) ## every figure that the README quotes
	@command -v motion >/dev/null || { echo "bench: motion is missing: sudo apt-get install motion" >&2; exit 1; }
	$(BIN)/python benchmarks/run_all.py

pins: $(STAMP) ## pin what goes onto a Pi by hash, anew; uses the network
	$(BIN)/python -m tools.hash_pins

wheel: $(STAMP) ## the package as a file, in dist/
	@# What earlier builds have left would slip in.
	rm -rf build dist
	SOURCE_DATE_EPOCH=1767225600 $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

image: wheel ## a container image: IMAGE=…, PLATFORMS=linux/arm64,linux/amd64, PUSH=yes
	IMAGE="$(IMAGE)" PLATFORMS="$(PLATFORMS)" PUSH="$(PUSH)" tools/build_image.sh

release: wheel ## is dist/ what the tag TAG=v1.2.3 promises? uploads nothing
	$(BIN)/python -m tools.check_release "$(TAG)"

deploy: $(STAMP) ## the cloud home into your AWS account (OWNER=you@example.com, SETTINGS="key=value …"; docs/guide/aws.md)
	@$(BIN)/python -m tools.deploy deploy $(addprefix -c ,$(SETTINGS)) $(addprefix --owner ,$(OWNER))

diff: $(STAMP) ## what `make deploy` would change
	@$(BIN)/python -m tools.deploy diff $(addprefix -c ,$(SETTINGS))

destroy: $(STAMP) ## take the cloud home away; recordings, records and people stay
	@$(BIN)/python -m tools.deploy destroy

images: $(STAMP) ## draw the diagrams anew from their sources
	$(BIN)/python images/draw.py

clean: ## remove what the targets made
	rm -rf .venv .venvs .wheelhouse .rootfs run-data bench-results build dist *.egg-info htmlcov .coverage .coverage.* \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
