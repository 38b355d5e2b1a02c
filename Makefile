SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)

PROTOS := $(wildcard proto/empla/v1/*.proto)
generate = python -m grpc_tools.protoc -I proto \
	--python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) $(PROTOS)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## find Python, make .venv, install what is missing (the others do this themselves)
	@deploy/setup.sh

.PHONY: up
up: setup ## start the database, the control plane and an employee; Ctrl-C stops them
	@exec empla up

.PHONY: test
test: setup ## run the tests, in two processes
	@python -m pytest --numprocesses=2 --dist=loadgroup

.PHONY: check
check: lint types imports generated ## everything a machine can say about the code; -k goes on after a failure

.PHONY: lint
lint: setup
	ruff check .
	ruff format --check .

.PHONY: types
types: setup
	mypy
	mypy tests loadtests examples

.PHONY: imports
imports: setup
	lint-imports

.PHONY: generated
generated: setup
	@echo "comparing the generated code with the .proto files"
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; $(call generate,"$$out"); \
	diff -r --exclude='*.proto' --exclude=__init__.py --exclude=__pycache__ "$$out/empla/v1" proto/empla/v1 \
	|| { echo "They differ: run make proto." >&2; exit 1; }

.PHONY: format
format: setup ## format the code and fix what can be fixed
	ruff check --fix .
	ruff format .

.PHONY: proto
proto: setup ## generate the code of the contracts anew
	@$(call generate,proto)

.PHONY: states
states: setup ## draw the state diagrams of docs/states.md anew
	@python -m empla.store.diagrams >docs/states.md.new && mv docs/states.md.new docs/states.md

.PHONY: bench
bench: setup ## measure the figures
	@python -m loadtests.bench

.PHONY: bench-density
bench-density: setup ## measure 100 and 500 employees on this machine (needs 16 GB of memory)
	@python -m loadtests.density

.PHONY: load
load: setup ## put load on the system that is running
	@python -m loadtests.load

.PHONY: lock
lock: ## pin the dependencies anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header \
		--extra dev -o deploy/requirements.txt pyproject.toml

.PHONY: clean
clean: ## remove .venv and caches; what employees know stays
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis loadtests/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
