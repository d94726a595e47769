# Every target sets up what it needs: uv (with pip, into .uv), the locked environment (.venv), then does its job.
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-processors gpu verify lint format notebooks lock clean

UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never

help:  ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

demo: .venv/synced  ## run the whole workbook on small synthetic data (minutes, no GPU, no download)
	$(BIN)/ddp-repro doctor
	$(BIN)/ddp-repro reproduce --preset mini --jobs 2

test: .venv/synced  ## run the quick tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow and not gpu"

test-slow: .venv/synced  ## run the tests that take long
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m slow --durations=15

# Other processors, emulated: PyTorch's vector code, oneDNN's, our compiled code, threads.  Every level of each is in one
# of them, or in `make test`, which runs all that this processor has.
PROCESSORS := default:SSE41:off:1 avx2:AVX2:on:2 avx512:AVX512_CORE:off:2

test-processors: .venv/synced  ## run what depends on rounding as on other processors
	@for processor in $(PROCESSORS); do \
	  echo "== $$processor"; set -- $$(echo $$processor | tr : ' '); \
	  case $$1 in avx2) flag=avx2;; avx512) flag=avx512f;; *) flag=;; esac; \
	  if [ "$$flag" ] && ! grep -qw "$$flag" /proc/cpuinfo; then \
	    echo "skipped: this processor has no $$1, which nothing here emulates"; continue; \
	  fi; \
	  ATEN_CPU_CAPABILITY=$$1 ONEDNN_MAX_CPU_ISA=$$2 DDP_REPRO_KERNELS=$$3 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
	    DDP_REPRO_TEST_THREADS=$$4 $(BIN)/pytest -q -n 2 -m "numerics and not slow and not gpu" || exit 1; \
	done

# PYTHON=python3 takes that Python as it is, where there is no package index; DRY=1, BUDGET=20m, OUTPUT=FOLDER.
PYTHON ?= $(BIN)/python
BUDGET = 9m30s
OUTPUT = results

gpu: $(if $(filter $(BIN)/python,$(PYTHON)),.venv/synced)  ## measure and train what a GPU is wanted for, in parts (DRY=1: tiny, on the CPU)
	$(PYTHON) -m ddp_repro gpu --budget $(BUDGET) --output $(OUTPUT) $(if $(DRY),--dry-run)

verify: .venv/synced  ## evaluate again what committed records say, where weights and data are here
	@for preset in camvid sevenscenes kitti_lidar small; do echo "== $$preset"; $(BIN)/ddp-repro verify --preset $$preset || exit 1; done

lint: .venv/synced  ## check style, docstrings, spelling and types, and that no notebook has stored outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	$(BIN)/codespell
	$(BIN)/pyright --pythonpath $(BIN)/python

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
	$(UV) sync --frozen --all-extras --compile-bytecode
	@touch $@

# --target: works with nothing but pip, also where the system's Python is "externally managed";
# -a: an activated environment may have no pip
.uv/bin/uv:
	@for python in $$(which -a python3 python3.12 python3.11 2>/dev/null); do \
	  $$python -m pip --version >/dev/null 2>&1 && exec $$python -m pip install --quiet --target .uv uv; \
	done; echo "pip is needed to install uv, and no python3 here has it." >&2; exit 1
