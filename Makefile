# Both commands need only Python 3.11 or newer, git and make: they make .venv, install, and run.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
RUN ?= runs/tiny
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check format clean

help:
	@echo "make demo    from the code installed here to a released model, in minutes"
	@echo "make test    every test"
	@echo "make check   lint, format, strict types"
	@echo "make format  rewrite the code in the project's format"
	@echo "make clean   remove .venv and runs"

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

demo: $(INSTALLED)
	$(VENV)/bin/python docs/demo.py $(RUN)

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

check: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) runs
