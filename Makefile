# Everything done with the kit from a shell. It assumes Python 3.11 or newer and make, nothing else.
#   make lab PYTHON=/path/to/python    picks the interpreter
#   make lab LABKIT_BROWSER=none       opens no browser; with a command, opens that one

PYTHON ?=
# Relative, so that the checkout's own path may have spaces in it.
RUN := .venv/bin/python -m

.DEFAULT_GOAL := help
.PHONY: help setup lab test lint bench release clean

help:  ## shows this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup:  ## makes .venv with every package, the kit and its kernel; the others do it themselves
	@python="$$(sh tools/find_python.sh "$(PYTHON)")" && "$$python" tools/bootstrap.py

lab: setup  ## starts the local clouds and opens JupyterLab; LABKIT_BROWSER=none prints its address
	@$(RUN) tools.lab

test: setup lint  ## runs every test: units, contracts, browser, and all solved notebooks
	$(RUN) tools.chromium
	$(RUN) labkit release --check
# What fails is run once more by itself: a test that passes then is still named above, and is to be mended.
	$(RUN) pytest -n 2 --dist loadscope || $(RUN) pytest --last-failed --last-failed-no-failures none
	$(RUN) labkit run
	$(RUN) pytest -n 2 --dist loadfile -p tests.fresh_clouds --nbval --nbval-sanitize-with tests/nbval.cfg solutions

lint: setup  ## checks style, types and pins
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy labkit tools
	$(RUN) tools.lock --check

bench: setup  ## measures kernels, clouds and course beside plain ones; QUICK=1 does a little of it
	$(RUN) benchmarks $(if $(QUICK),--quick)

release: setup  ## makes notebooks/ from solutions/
	$(RUN) labkit release

clean:  ## stops the local clouds and removes .venv and every cache
	@if [ -x .venv/bin/labkit ]; then $(RUN) labkit down || true; fi
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis tests/browser/output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
