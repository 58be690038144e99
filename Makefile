# Thin on purpose: what a target does lives in bootstrap/, lab/ and app/, where it is tested.
# Variables: LAB, TOPOLOGY, LAB_NETWORK, VERSION, NODE, ARGS.
.PHONY: up down clean status ssh salt run key host dist wheels lock prepare lint test test-fast \
	test-unit test-frontend test-functional test-integration test-system
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
test-functional: prepare
	.venv/bin/python -m pytest tests/functional
test-integration: host
	.venv/bin/python -m pytest tests/integration
test-system: prepare
	.venv/bin/python -m pytest tests/system
