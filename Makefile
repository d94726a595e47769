# Every target sets up what it needs: uv (with pip, into .uv), the locked environment (.venv), then does its job.
.DEFAULT_GOAL := help
.PHONY: help demo test lint format notebooks lock clean

UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never

help:  ## show the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: .venv/synced  ## run the whole workbook on small synthetic data (minutes, no GPU, no download)
	$(BIN)/ddp-repro doctor
	$(BIN)/ddp-repro reproduce --preset mini --jobs 2

test: .venv/synced  ## run every test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

lint: .venv/synced  ## check style, also of the notebooks, and that no notebook has stored outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: .venv/synced  ## fix what lint can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

notebooks: .venv/synced  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

lock: $(filter .uv/%,$(UV))  ## renew uv.lock after a change of pyproject.toml
	$(UV) lock

clean:  ## remove the environment and caches (data and results stay)
	rm -rf .venv .uv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/synced: pyproject.toml uv.lock | $(filter .uv/%,$(UV))
	@$(UV) python find --no-project '>=3.11,<3.13' >/dev/null 2>&1 || \
	  { echo "Python 3.11 or 3.12 is needed and neither was found; install one (or: $(UV) python install 3.12)." >&2; exit 1; }
	$(UV) sync --frozen --all-extras
	@touch $@

# --target: works with nothing but pip, also where the system's Python is "externally managed"
.uv/bin/uv:
	@for python in python3 python3.12 python3.11; do \
	  $$python -m pip --version >/dev/null 2>&1 && exec $$python -m pip install --quiet --target .uv uv; \
	done; echo "pip is needed to install uv, and no python3 here has it." >&2; exit 1
