"""Benchmarks: each prints what it measured beside a baseline of the same run.

Modules: ``hits``, ``backup``, ``rollout``, ``converge``, ``growth`` and ``failover`` (the
benchmarks: what each measures, in which order, and its report), ``groups`` (what the kernel counts
of a node), ``light`` (a master of its own with any number of minions), ``load`` (wrk, which makes
the load), ``api`` (the few calls of the counter service that a benchmark needs), ``backups`` (who
makes and restores them), ``gaps`` (what clients see of a failure), ``failing`` (what can fail),
``vip`` (who holds the VIP) and the two places to measure in, ``local`` and ``cluster``.
"""
