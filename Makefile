PYTHON ?= python3
BIN := .venv/bin
EXAMPLE := example/hst_99999_01_acs_wfc_f814w_drz.fits

.PHONY: scan test lint bench venv

# From a bare checkout to a ranked catalogue on the embedded mosaic.
scan: venv
	$(BIN)/lensweep example example
	$(BIN)/lensweep scan $(EXAMPLE) --out example/run --truth $(EXAMPLE:.fits=_truth.csv)

test: venv
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder \
		--durations 20

lint: venv
	$(BIN)/ruff check .
	$(BIN)/mypy

# What docs/performance.md compares; hours on two cores.
bench: venv
	$(BIN)/pip install --editable '.[bench]'
	for benchmark in cut score field scale train overhead planned_windows growth; do \
		$(BIN)/python benchmarks/$$benchmark.py || exit 1; done

venv: .venv/installed

.venv/installed: setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --progress-bar on --editable '.[test]'
	touch $@
