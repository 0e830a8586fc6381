# make demo   sets everything up and runs the main job on an embedded broker
# make test   sets everything up and passes the tests
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test chaos soak load lint type audit floors bench peers plots all clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make a virtual environment: install your system's python3-venv package"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: setup
	$(BIN)/context-worker demo

# most of the time tests wait for a broker, so more than one at a time; each process has a broker of its own
test: setup
	$(BIN)/python -m pytest --cov --cov-report=term --numprocesses $(or $(PROCESSES),3) --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup
	$(BIN)/mypy

# SEED=… repeats a run; MINUTES=… is the longest that it takes
chaos: setup
	$(BIN)/python -m tests.chaos --seed "$(SEED)" --minutes "$(or $(MINUTES),10)"

# memory, descriptors and lag under steady traffic
soak: setup
	$(BIN)/python -m tests.soak --minutes "$(or $(MINUTES),5)"

# two members at 80 % of what one sustains, with a restart of the broker in the middle
load: setup
	$(BIN)/python -m tests.soak.load --minutes "$(or $(MINUTES),5)"

# known vulnerabilities of what is installed; exit code 3 where nobody could be asked
AUDIT := .venv-audit
audit: setup
	@$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10.1'
	$(BIN)/python -m tests.audit $(AUDIT)/bin/python "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# the tests that need no broker, with the oldest versions that pyproject.toml admits
floors: setup
	$(BIN)/python -m tests.floors .venv-floors

bench: setup
	$(BIN)/python -m benchmarks all

# the engines that `python -m benchmarks peers` compares with; needs Java 17 and Maven for one of them
PEERS := benchmarks/peers/.built
peers: setup
	@$(PYTHON) -m venv $(PEERS)/quix
	$(PEERS)/quix/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/quix_requirements.txt
	mvn --quiet --batch-mode --file benchmarks/peers/kafka_streams/pom.xml package

# the pictures of a report.json that `python -m benchmarks all --json report.json` wrote
plots: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m benchmarks.plot report.json

all: lint type test demo

clean:
	rm -rf $(VENV) .venv-audit .venv-floors benchmarks/peers/.built .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist build
