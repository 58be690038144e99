# Thin on purpose: what a target does lives in bootstrap/, lab/, app/ and tests/, where it is tested.
# Variables: LAB, TOPOLOGY, LAB_NETWORK, VERSION, NODE, ARGS. A line that begins with ## is for `make help`.
.PHONY: help up down clean status ssh salt run key host dist wheels lock docs prepare lint test \
	test-fast test-unit test-frontend test-app test-functional test-gluster test-integration test-system \
	test-classic drill bench
export LAB TOPOLOGY LAB_NETWORK VERSION ARGS
export PATH := $(CURDIR)/.venv/bin:$(PATH)
LAB_TOOL = .venv/bin/python -m lab
LANES = .venv/bin/python -m tests.lanes

## help             print this
help:
	@sed -n 's/^## \{0,1\}/  make /p' Makefile
	@echo "README.md says what they do, CONTRIBUTING.md how to work on the tree."

## up               the whole cluster on this machine, or what it lacks; VERSION=1.4.0 rolls that out
up: host
	@$(LAB_TOOL) up
## status           each node's state
status: host
	@$(LAB_TOOL) status
## salt ARGS=…      salt on the master, for example ARGS="'*' test.ping"
salt: host
	@$(LAB_TOOL) salt
## run ARGS=…       salt-run on the master, for example ARGS="state.orchestrate orch.rollout"
run: host
	@$(LAB_TOOL) run
## key ARGS=…       salt-key on the master, for example ARGS=-L
key: host
	@$(LAB_TOOL) key
## ssh NODE=…       a root shell on a node; what is piped into it is done there
ssh: host
	@$(LAB_TOOL) ssh $(NODE)
## down             remove the nodes, their data and their network
down: host
	@$(LAB_TOOL) down
## clean            that, the node images, and everything in build/
clean: host
	@$(LAB_TOOL) clean

## dist             build a release of the app into build/dist; VERSION=1.4.0 names it
dist: host
	@$(LAB_TOOL) dist
## wheels           build Salt's wheels for every platform, virtual machines too
wheels: host
	@$(LAB_TOOL) wheels
## prepare          make what nodes are made from: wheels, images, a release
prepare: host
	@$(LAB_TOOL) prepare
## host             install what this machine lacks; every other target does it first
host:
	@bootstrap/host.sh </dev/null
## lock             resolve the locks in requirements/ anew
lock: host
	@requirements/lock
## docs             make docs/reference anew from the docstrings
docs: host
	.venv/bin/python docs/make_reference.py

## test             every linter and test, in lanes: docs/testing.md
test: prepare
	@$(LANES)
## test-fast        the lanes that need no daemon: lint, unit, frontend
test-fast: host
	@$(LANES) lint unit frontend
## lint             every linter
lint: host
	@$(LANES) lint
## test-unit        one lane alone, and so the next ones; ARGS="-- -k word" goes to its pytest
test-unit: host
	@$(LANES) unit $(ARGS)
## test-frontend    the page's parts; takes no ARGS
test-frontend: host
	@$(LANES) frontend
## test-app         the app and its page with real programs
test-app: prepare
	@$(LANES) app $(ARGS)
## test-functional  modules and states with real programs
test-functional: prepare
	@$(LANES) functional $(ARGS)
## test-gluster     the volume's modules with glusterfs 10 and 11; takes no ARGS
test-gluster: prepare
	@$(LANES) gluster-10 gluster-11
## test-integration a real master and minions
test-integration: host
	@$(LANES) integration $(ARGS)
## test-system      the whole cluster
test-system: prepare
	@$(LANES) system $(ARGS)
## test-classic     the small topology
test-classic: prepare
	@$(LANES) classic $(ARGS)
## drill            hours: every fault many times, a hundred reloads, drains and hand-overs, the volume and all machines lost, storage nodes' with a minute of writing in each, other examples of properties, ten rollouts in turn
drill: prepare
	HYPOTHESIS_PROFILE=drill .venv/bin/python -m pytest -s tests/functional/app/test_memory_store.py \
		tests/functional/app/test_store_machine.py tests/unit/fleet/test_simulated.py
	DRILL_TIMES=100 .venv/bin/python -m pytest -s tests/functional/haproxy/test_handover.py
	GLUSTER_DRILL_SECONDS=60 .venv/bin/python -m pytest -s tests/functional/gluster/test_faults.py
	DRILL_ROLLOUTS=10 DRILL_SECRETS=1 DRILL_CHAOS=1 DRILL_LOST=1 .venv/bin/python -m pytest -s \
		tests/system/test_turns.py tests/system/test_rotate.py tests/system/test_chaos.py \
		tests/system/test_lost.py
## bench            how fast hits are counted on the running cluster; ARGS=--local without one (others: bench/backup, bench/rollout, bench/converge, bench/growth, bench/failover, bench/vip, bench/page)
bench: host
	@bench/hits $(ARGS)
