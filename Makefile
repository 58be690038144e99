# Thin on purpose: what a target does lives in bootstrap/, lab/ and app/, where it is tested.
# Variables: LAB, TOPOLOGY, LAB_NETWORK, VERSION, NODE, ARGS.
.PHONY: up down clean status ssh salt run key host dist wheels lock lint test test-fast bench
export LAB TOPOLOGY LAB_NETWORK VERSION
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
	@$(LAB_TOOL) salt "$(ARGS)"
run: host
	@$(LAB_TOOL) run "$(ARGS)"
key: host
	@$(LAB_TOOL) key "$(ARGS)"

host:
	@bootstrap/host.sh
dist: host
	@$(LAB_TOOL) dist
wheels: host
	@$(LAB_TOOL) wheels
lock: host
	@requirements/lock
