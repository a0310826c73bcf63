# Two commands: `make repro` and `make test`. Everything they need goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
PROFILE ?= mini
JOBS ?= 0
# another seed repeats all trainings with other random numbers; it is written into the profile
SEED ?=
# anything: do not ask before hours of work at the papers' schedules
YES ?=
# own: keep the torch and torchvision that are already in $(VENV) (a CPU-only build, say)
TORCH ?= locked

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := requirements.lock $(if $(filter own,$(TORCH)),,requirements-torch.lock)

.PHONY: repro test lint types docs install lock
.DEFAULT_GOAL := repro

repro: install
	@$(BIN)/tdn repro --profile $(PROFILE) --jobs $(JOBS) $(addprefix --seed ,$(SEED)) $(if $(YES),--yes)

test: install
	@$(BIN)/python -m pytest

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: install
	@$(BIN)/mypy
	@$(BIN)/mypy reports/verify.py

# The documentation site, in site/. Its generator reads the sources and imports none of them.
docs: .venv-docs/.installed
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

.venv-docs/.installed: requirements-docs.lock
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --require-hashes -r requirements-docs.lock
	@touch $@

install: $(STAMP)

$(STAMP): requirements.lock requirements-torch.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.13"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) (a few minutes; about 5.5 GB with CUDA)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  $(addprefix -r ,$(LOCKS))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation --editable .
	@touch $(STAMP)

# Renewing the pins is deliberate: read the difference before committing it.
lock:
	@uv pip compile pyproject.toml --extra dev --constraint requirements-torch.in \
	  --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header \
	  --no-annotate --quiet --output-file .tmp-lock
	@$(PYTHON) -c 'import re; \
	  items = re.split(r"\n(?=[a-z0-9])", open(".tmp-lock").read().strip()); \
	  gpu = re.compile(r"(torch|torchvision|triton|nvidia-|cuda-)"); \
	  head = "# Exact versions with hashes, for Python 3.11-3.13 on Linux; `make lock` renews it.\n"; \
	  [open(name, "w").write(head + "\n".join(i for i in items if bool(gpu.match(i)) is only) + "\n") \
	   for name, only in (("requirements.lock", False), ("requirements-torch.lock", True))]'
	@rm -f .tmp-lock
	@uv pip compile --group docs --generate-hashes --universal --python-version 3.11 \
	  --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements-docs.lock
