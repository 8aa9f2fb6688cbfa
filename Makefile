# Two commands on a fresh machine: `make bench` and `make test`. Each makes .venv from requirements.txt first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: docs help bench test test-all browser runtimes check all all-benchmarks report overhead gate-power speedup-check pools-check report-check damage-check kill-check published-check models inputs gpu-check clean
.DEFAULT_GOAL := help

help:  ## Show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-runtimes: requirements-runtimes.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-runtimes.txt
	@touch $@

bench: $(VENV)/.installed  ## CLIP on this machine, in about a minute: pytest benchmarks -k clip
	$(BIN)/pytest benchmarks -k clip $(ARGS)

test: $(VENV)/.installed-runtimes  ## The suite's own tests: no GPU, no network
	$(BIN)/pytest tests -n 2 $(ARGS)

test-all:  ## As `make test`, and what takes long: runs that are killed, every runtime, 46 hostile models
	$(MAKE) test ARGS="--slow $(ARGS)"

browser:  ## Chromium and its driver, with which the tests open the page (Debian and Ubuntu, as root or with sudo)
	command -v chromedriver >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; }

runtimes: $(VENV)/.installed-runtimes  ## What --runtime, --precision=int8 and --prune need beside requirements.txt

all: $(VENV)/.installed  ## Every built-in model, about nine minutes on two cores: pytest benchmarks
	$(BIN)/pytest benchmarks $(ARGS)

all-benchmarks: $(VENV)/.installed  ## Environment check, every family, throughput, one report; goes on if interrupted
	$(BIN)/python -m fixtures check
	$(BIN)/pytest benchmarks --throughput --isolate --report=results/all-benchmarks \
		--benchmark-json=results/all-benchmarks.json $(if $(wildcard results/unfinished/*.jsonl),--resume) $(ARGS)

report: $(VENV)/.installed  ## Of the saved runs in results/: results/report/report.html, report.md, charts
	$(BIN)/python -m fixtures report results $(ARGS)

check: $(VENV)/.installed-dev  ## What CI checks before the tests: ruff, mypy, the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: $(VENV)/.installed  ## docs/options.md and docs/fields.md, made of the option table and the record
	$(BIN)/python -m tools.docs

overhead: $(VENV)/.installed  ## What measuring costs, beside a bare loop and a minimal pytest-benchmark test
	$(BIN)/python -m tools.overhead

gate-power: $(VENV)/.installed  ## The gate's false alarms, and what it finds: about two hours, go on with the same command
	$(BIN)/python -m tools.gate_power $(ARGS)

speedup-check: $(VENV)/.installed  ## What the speed-up table says of no difference: ten runs, a quarter of an hour
	$(BIN)/python -m tools.speedup $(ARGS)

pools-check: $(VENV)/.installed-runtimes  ## Speed-ups of ONNX Runtime and OpenVINO beside those of each side alone: a quarter of an hour
	$(BIN)/python -m tools.pools

report-check: $(VENV)/.installed  ## How long a report of 1,000 cases takes, how large its page is, how fast the history answers
	$(BIN)/python -m tools.report $(ARGS)

published-check: $(VENV)/.installed-dev  ## Parameters and MACs of 212 models against what is published, PUBLISHED=FILE.csv: four minutes
	$(BIN)/python -m tools.published $(PUBLISHED)

damage-check: $(VENV)/.installed  ## 2,000 damaged saved files through every command that reads them: about ten minutes
	$(BIN)/python -m tools.damage $(ARGS)

kill-check: $(VENV)/.installed  ## 60 runs killed at random moments, each then resumed: about a quarter of an hour
	$(BIN)/python -m tools.kills $(ARGS)

models: $(VENV)/.installed  ## Published weights of the built-in models (network; 17 GB; ARGS="clip yolo" for some)
	$(BIN)/python -m fixtures fetch models $(ARGS)

inputs: $(VENV)/.installed  ## A subset of COCO val2017 with captions and boxes (network; 300 MB)
	$(BIN)/python -m fixtures fetch inputs $(ARGS)

gpu-check: $(VENV)/.installed  ## Event times against profiler, wall and a second run; memory against torch (needs a GPU)
	$(BIN)/python -m tools.gpu

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
