# fpj: two commands matter. `make run` processes images, `make test` runs every test. Both set up what they need.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell hack/find-python.sh)
VENV := .venv
BIN := $(VENV)/bin
RELEASE_VENV := .venv-release
RELEASE_BIN := $(RELEASE_VENV)/bin
FUZZ_VENV := .venv-fuzz
IMAGE ?= build/fpj.tar
DIR ?= samples
OUT ?= out
ARGS ?=
# What a person sets reaches the shell as an environment variable and is quoted there: as part of a recipe, the shell
# would run what is in it. `value` keeps make itself from expanding it.
override IMAGE := $(value IMAGE)
override DIR := $(value DIR)
override OUT := $(value OUT)
override ARGS := $(value ARGS)
export IMAGE DIR OUT ARGS
PACKAGES := core operator worker api cli tests hack

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Make cache images and thumbnails of DIR (default: the sample images) in OUT
	@$(BIN)/python hack/run_words.py $(BIN)/fpj run --out="$$OUT" ARGS -- "$$DIR"

setup: $(VENV)/.test ## Make .venv with fpj and all that the tests need

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing fpj into $(VENV) (once)"
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.run
	@echo "Installing what the tests need into $(VENV) (once)"
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/test.txt
	@touch $@

# What makes and checks releases: beside .venv, since neither the wheel nor the image may carry any of it.
release-tools: $(RELEASE_VENV)/.tools ## Install what makes bills of materials and audits into .venv-release

$(RELEASE_VENV)/.tools: requirements/release.txt
	@echo "Installing what releases need into $(RELEASE_VENV) (once)"
	$(PYTHON) -m venv $(RELEASE_VENV)
	$(RELEASE_BIN)/python -m pip install --quiet --require-hashes -r requirements/release.txt
	@touch $@

test: lint $(RELEASE_VENV)/.tools ## Run everything: lint, types, unit, contract, integration, e2e, on each Python there is
	hack/secantusd.sh > /dev/null
	hack/cluster-binaries.sh > /dev/null
	hack/prometheus.sh > /dev/null
	hack/monitoring-crds.sh > /dev/null
	hack/gitops.sh > /dev/null
	hack/kubeconform.sh > /dev/null
	hack/gateway-crds.sh > /dev/null
	hack/tlc.sh > /dev/null
	[ "$$(id -u)" -ne 0 ] || hack/kueue.sh > /dev/null
	[ "$$(id -u)" -ne 0 ] || hack/network-policies.sh > /dev/null
	[ "$$(id -u)" -ne 0 ] || hack/node-packages.sh
	[ "$$(id -u)" -ne 0 ] || hack/browser.sh > /dev/null
	[ "$$(id -u)" -ne 0 ] || hack/image-base.sh > /dev/null
	[ "$$(id -u)" -ne 0 ] || hack/toxiproxy.sh > /dev/null
	$(BIN)/pytest tests/unit -n auto --dist loadfile --cov --cov-report=
	@echo "Lines and branches that the unit tests take: $$($(BIN)/coverage report --format=total) %"
	$(BIN)/pytest --ignore=tests/unit -n auto --dist loadfile --durations=30
	hack/test-interpreters.sh

lint: $(VENV)/.test ## Check style, types, import rules and generated files
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy
	PYTHONPATH=hack $(BIN)/lint-imports --no-cache
	$(BIN)/python hack/generate.py --check
	git ls-files -z | xargs -0 $(BIN)/codespell
	$(BIN)/python hack/words.py
	$(BIN)/python hack/markdown_lines.py
	hack/lint-js.sh

check: lint ## The same as lint: what to run before each commit, beside `make unit`

# Those that decode images and start processes are left out: `make test` has them, and each folder can be run by itself.
unit: $(VENV)/.test ## Run the unit tests that need no images and no child processes (ARGS="-k WORDS" picks some)
	@$(BIN)/python hack/run_words.py $(BIN)/pytest tests/unit -q -m "not slow" -n auto --dist loadfile \
	    --ignore tests/unit/engine --ignore tests/unit/pool --ignore tests/unit/worker_pod --ignore tests/unit/fuzz ARGS

coverage: $(VENV)/.test ## Report which branches of the product the unit and contract tests take (docs/development/testing.md)
	hack/secantusd.sh > /dev/null
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests/unit tests/contract -q
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

fmt: $(VENV)/.test ## Format the code and apply automatic fixes
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)
	hack/lint-js.sh --fix

docs: $(VENV)/.test ## Generate all files that come from the code: resources, references, chart, manifests, licences
	$(BIN)/python hack/generate.py

crds chart licences man: $(VENV)/.test ## Generate only crds/, parts of charts/fpj, docs/licences.md, the man page
	$(BIN)/python hack/generate.py $(if $(filter chart,$@),chart grafana,$@)

deploy: $(VENV)/.test ## Generate only deploy/ : the operator, its rights, health checks for Argo CD
	$(BIN)/python hack/generate.py deploy argocd

sbom: $(VENV)/.test $(RELEASE_VENV)/.tools ## Write bills of materials into build/sbom: of the distribution, and of IMAGE if it is there
	$(RELEASE_BIN)/python hack/sbom.py distribution "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	    build/sbom/fpj.cdx.json
	@if [ -e "$$IMAGE" ]; then $(RELEASE_BIN)/python hack/sbom.py image "$$IMAGE" build/sbom/fpj-image.cdx.json; \
	else echo "No bill of the image: there is no $$IMAGE. make image builds it."; fi

audit: $(RELEASE_VENV)/.tools ## Ask for known vulnerabilities of everything that is locked; fails if nobody answers
	$(RELEASE_BIN)/python hack/vulnerabilities.py requirements/*.txt

wheel: $(VENV)/.run ## Build the wheel and the source distribution into dist/
	$(BIN)/python -m hatchling build -d dist

image: ## Build the container image into build/fpj.tar, with buildah, as root
	@mkdir -p build
	@hack/image.sh build/fpj.tar

cluster-binaries: ## Build the programs of a test cluster (once per machine)
	@hack/cluster-binaries.sh

cluster-up: $(VENV)/.test ## Start a Kubernetes cluster on this machine (NODE=1: with a node, as root)
	@$(BIN)/python hack/cluster.py up $(if $(filter 1,$(NODE)),--node)

cluster-down: $(VENV)/.test ## End that cluster
	@$(BIN)/python hack/cluster.py down

kind-up: ## Make a kind cluster with the image and the resources in it (needs Docker)
	hack/kind-up.sh

$(FUZZ_VENV)/.tools: requirements/fuzz.txt
	@echo "Installing what fuzzing needs into $(FUZZ_VENV) (once)"
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt
	$(FUZZ_VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

fuzz: $(VENV)/.run $(FUZZ_VENV)/.tools ## Fuzz what reads strangers' bytes, 10 minutes a target (ARGS="archive key --seconds 60")
	@$(BIN)/python hack/run_words.py $(FUZZ_VENV)/bin/python tests/unit/fuzz/run.py ARGS

bench: $(VENV)/.test ## Measure against the peers and the targets (ARGS=--quick for a short run)
	hack/bench-setup.sh
	$(BIN)/python hack/run_words.py $(BIN)/python tests/bench/run.py ARGS

chaos: $(VENV)/.test ## Inject faults on a real node, by seed (ARGS='--seeds 1-100 --faults 100'); as root, resumes
	hack/secantusd.sh > /dev/null
	hack/cluster-binaries.sh > /dev/null
	hack/node-packages.sh
	hack/image-base.sh > /dev/null
	hack/toxiproxy.sh > /dev/null
	@$(BIN)/python hack/run_words.py $(BIN)/python hack/run_chaos.py ARGS

simulate: $(VENV)/.test ## Run schedules of faults in memory, by seed, until stopped (ARGS=--help; docs/development/simulation.md)
	PYTHONPATH=tests:hack $(BIN)/python hack/run_words.py $(BIN)/python -m simulation ARGS

model: $(VENV)/.test ## Check the model of lock, fence, plan, count and hand-over with TLC, with more faults than make test
	hack/tlc.sh > /dev/null
	$(BIN)/pytest -v tests/model/test_model.py tests/model/thorough.py

mutations: $(VENV)/.test ## Put one error at a time into a copy of the code, and see which test notices (ARGS="--only core/")
	hack/secantusd.sh > /dev/null
	$(BIN)/python hack/run_words.py $(BIN)/python hack/run_mutations.py ARGS

lock: $(VENV)/.test ## Resolve the dependencies again into requirements/
	hack/lock.sh

clean: ## Remove what was made here (caches outside the checkout stay)
	rm -rf $(VENV) $(VENV)-* out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help run setup test lint check unit coverage fmt crds docs deploy chart release-tools licences sbom audit wheel image cluster-binaries cluster-up cluster-down kind-up fuzz bench simulate chaos lock clean man model mutations
