# Thin on purpose: what a target does lives in bootstrap/, lab/ and app/, where it is tested.
# Variables: LAB, TOPOLOGY, LAB_NETWORK, VERSION, NODE, ARGS.
.PHONY: up down clean status ssh salt run key host dist wheels lock docs prepare lint test test-fast \
	test-unit test-frontend test-functional test-integration test-system drill \
	functional-debian12 functional-debian13 functional-others bench
export LAB TOPOLOGY LAB_NETWORK VERSION ARGS
export PATH := $(CURDIR)/.venv/bin:$(PATH)
LAB_TOOL = .venv/bin/python -m lab

up: host
	@$(LAB_TOOL) up
down: host
	@$(LAB_TOOL) down
clean: host
	@$(LAB_TOOL) clean
status: host
	@$(LAB_TOOL) status
ssh: host
	@$(LAB_TOOL) ssh $(NODE)
salt: host
	@$(LAB_TOOL) salt
run: host
	@$(LAB_TOOL) run
key: host
	@$(LAB_TOOL) key

host:
	@bootstrap/host.sh
dist: host
	@$(LAB_TOOL) dist
wheels: host
	@$(LAB_TOOL) wheels
lock: host
	@requirements/lock
docs: host
	.venv/bin/python docs/make_reference.py
prepare: host
	@$(LAB_TOOL) prepare

test: test-fast test-functional test-integration test-system
test-fast: lint test-unit test-frontend
lint: host
	@tests/lint
test-unit: host
	.venv/bin/python -m pytest tests/unit
test-frontend: host
	@tests/frontend
# Most of what is tested here is waited for, so all at a time: each glusterfs, and all the rest. The
# rest computes most and waits for least, so it stands back for the others.
test-functional: prepare
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target \
		functional-debian12 functional-debian13 functional-others
functional-debian12 functional-debian13: functional-%:
	.venv/bin/python -m pytest tests/functional/gluster -k $* $(SKIP_$*)
# The examples of the docstrings are the same for both: once is enough for them.
SKIP_debian12 = --ignore=tests/functional/gluster/test_examples.py
functional-others:
	nice -n 19 .venv/bin/python -m pytest tests/functional --ignore=tests/functional/gluster
# The faults of the storage nodes again, with a minute of writing in each phase.
drill: prepare
	GLUSTER_DRILL_SECONDS=60 .venv/bin/python -m pytest -s tests/functional/gluster/test_faults.py
test-integration: host
	.venv/bin/python -m pytest tests/integration
test-system: prepare
	.venv/bin/python -m pytest tests/system
# Of the running lab; `bench/hits --help` says what ARGS may have, --local among others.
bench: host
	@bench/hits $(ARGS)
