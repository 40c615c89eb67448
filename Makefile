PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
DATA ?= synthetic
BENCH_OUT ?= bench.json
WORLDS ?= worlds
# Python keeps what it has compiled, also where the shell says otherwise: every command and test process starts sooner.
export PYTHONDONTWRITEBYTECODE :=

# On a machine with nothing but Python, git and make: the environment is made first.
.PHONY: environment trackers demo site results worlds bench bench-gpu bench-inference test test-slow test-cluster test-all lint mutants soak same-numbers code-versions shallow clean

environment: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,docs,minilm,onnx,openvino,tensorboard]"
	touch $@

# The trackers that a run seldom needs, for their tests.
trackers: environment
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[wandb,mlflow,trackio]"

# The preset quick: three methods on tiny encoders and made-up text, in minutes. Stopped, it goes on where it was.
demo: environment
	$(BIN)/harness grid --preset quick --store $(DEMO)/runs
	$(BIN)/harness tables --store $(DEMO)/runs --study quick --out $(DEMO)
	$(BIN)/harness plots --store $(DEMO)/runs --study quick --out $(DEMO)
	@echo; cat $(DEMO)/quick.md
	@echo; echo "Tables and figures:"; ls -d $(DEMO)/quick*
	@echo; echo "All of it on one page, for a browser:"
	@$(BIN)/harness report --store $(DEMO)/runs --study quick --out $(DEMO)/quick-report.html

# The pages of the tree and a reference from the code, in site/: python -m http.server --directory site shows it. A link
# that leads nowhere, or a page that the menu of mkdocs.yml leaves out, is an error.
site: environment
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Every page beside the committed records, from these alone. Nothing may change: `git diff results` shows what would.
results: environment
	for study in quick:quick quick:quick-wide quick:quick-other-tasks quick:quick-without-pre-training sweep:sweep \
	        sweep:sweep-160 sweep:sweep-480 methods:methods methods:curves reduced:reduced reduced-1m:reduced-1m \
	        worlds:world-1 worlds:world-7; do \
	    from="--store results/$${study%:*} --study $${study#*:}"; to=results/$${study%:*}; \
	    $(BIN)/harness tables $$from --out $$to || exit 1; \
	done
	for study in quick:quick quick:quick-wide sweep:sweep methods:methods reduced:reduced reduced-1m:reduced-1m; do \
	    from="--store results/$${study%:*} --study $${study#*:}"; to=results/$${study%:*}; \
	    $(BIN)/harness tables $$from --claims --out $$to || exit 1; \
	done
	for study in quick:quick quick:quick-wide sweep:sweep methods:methods methods:curves reduced:reduced \
	        reduced-1m:reduced-1m; do \
	    from="--store results/$${study%:*} --study $${study#*:}"; to=results/$${study%:*}; \
	    case $$study in \
	        sweep:*) what="accuracy,tokens --with sweep-160,sweep-480";; \
	        methods:methods) what=methods;; \
	        methods:curves|reduced-1m:reduced-1m) what=accuracy;; \
	        *) what=accuracy,tokens,sparsity;; \
	    esac; \
	    $(BIN)/harness plots $$from --only $$what --out $$to || exit 1; \
	done
	for study in quick reduced; do \
	    from="--store results/$$study --study $$study"; to=results/$$study; \
	    $(BIN)/harness tables $$from --table all --out $$to/tables && \
	    $(BIN)/harness report $$from --out $$to/$$study-report.html || exit 1; \
	done
	$(BIN)/harness tables --store results/reduced-1m --study reduced-1m --table compression --out results/reduced-1m/tables

# The dense encoders of preset quick in two worlds more, as a test holds them: ten minutes on two cores. Records alone
# are kept.
worlds: environment
	rm -rf results/worlds
	for world in 1 7; do \
	    $(BIN)/harness grid --preset quick --data synthetic:$$world --methods dense --seeds 0 \
	        --models tiny-narrow,tiny-wide --tasks sst2,qnli,qqp,mnli,squad --study world-$$world --store $(WORLDS) && \
	    $(BIN)/harness merge $(WORLDS) --study world-$$world --records-only --into results/worlds || exit 1; \
	done
	rm -r results/worlds/leases

# How fast training is beside its matrix products alone, and what a stage costs around it: some ten minutes, one core.
# On data of yours: make bench DATA=DIR. docs/benchmarks.md says how to read it.
bench: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks --data $(DATA) --out $(BENCH_OUT)

# Student pruning of BERT-Base with distillation on a GPU, beside the floor of its operations and the library's plain step.
bench-gpu: environment
	$(BIN)/python -m benchmarks.gpu --out $(BENCH_OUT)

# What a compressed BERT-Base takes to run here, in every runtime: some five minutes, one core.
bench-inference: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.inference --out $(BENCH_OUT)

# Fast tests: a few minutes. A process a core and one more, for many tests wait, up to four, each with one thread; a
# file's tests stay in one process.
test: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --dist loadfile \
	    --numprocesses $$($(BIN)/python -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')

# The slow ones, which want the trackers too. Side by side: each process has one thread, and what measures time does so
# by the processor or beside a yardstick.
test-slow: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not cluster" --numprocesses 2 --dist loadfile --durations 40

# On a real SLURM that the tests start on this machine, as root: apt-get install slurm-wlm slurmdbd munge mariadb-server.
test-cluster: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster -m cluster --numprocesses 2 --dist load --durations 15

# Everything, as CI runs it.
test-all: environment
	$(BIN)/python -m pytest

lint: environment
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# One fault after the other in a copy of the source: the tests named for it must turn red. Some ten minutes, one core.
mutants: environment
	$(BIN)/python tests/support/mutants.py

# Every fault on the dev cluster three times, some ten minutes; the log is committed.
soak: environment
	$(BIN)/python tests/support/soak.py --log tests/cluster/soak.log

# Whether the working tree gives the numbers of BASE, a commit whose tests pass: the tiny grid, run with both (minutes).
same-numbers: environment
	$(BIN)/python tests/support/same_numbers.py $(or $(BASE),$(error name a commit: make same-numbers BASE=REV))

# A new stage kind, or a kind's raised version: record its source.
code-versions: environment
	$(BIN)/python tests/support/code_versions.py

# After a change of the synthetic world or of its referees: what shallow learners reach, some minutes.
shallow: environment
	PYTHONPATH=tests/support $(BIN)/python tests/support/shallow_reached.py

clean:
	rm -rf $(VENV) build dist site *.egg-info
