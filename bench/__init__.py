"""Benchmarks: each prints what it measured beside a baseline of the same run.

Modules: ``hits`` (the one there is: what it measures, in which order, and its report), ``load``
(wrk, which makes the load), ``api`` (the few calls of the counter service that a benchmark needs)
and the two places to measure in, ``local`` and ``cluster``.
"""
