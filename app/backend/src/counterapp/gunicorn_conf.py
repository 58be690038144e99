"""gunicorn's configuration: ``gunicorn -c python:counterapp.gunicorn_conf counterapp.wsgi:app``.

Read from the environment: ``COUNTERAPP_BIND`` and ``COUNTERAPP_METRICS_BIND`` (``address:port``;
without the second nobody can read the metrics), ``COUNTERAPP_WORKERS``, ``COUNTERAPP_CONNECTIONS``,
``COUNTERAPP_GRACEFUL_TIMEOUT`` (seconds). ``--bind`` and the like on the command line win. Why it
is this kind of worker: docs/performance.md.
"""

# ruff: noqa: E402
# Before anything takes its own view of threads, sockets and TLS: the driver does, and the settings
# are checked with the driver.
from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import os
import re
import sys

from counterapp.settings import Reader, Settings, SettingsError, whole_number


def _bind(text: str) -> str:
    match = re.fullmatch(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})", text)
    if match is None or int(match[1]) > 65535:
        raise ValueError(f"must be address:port, such as 192.168.33.11:8000, not {text!r}")
    return text


def _metrics_bind(text: str) -> str:
    if _bind(text) == bind[0]:
        raise ValueError(f"must be another than COUNTERAPP_BIND, not {text!r} as well")
    return text


def _connections(text: str) -> int:
    return whole_number(text, most=15000)


_reader = Reader(os.environ)
bind = [_reader.read("COUNTERAPP_BIND", _bind, "127.0.0.1:8000")]
if _metrics := _reader.read("COUNTERAPP_METRICS_BIND", _metrics_bind, None):
    # The worker knows it among its listeners by the same variable.
    bind.append(_metrics)
# One process: readiness is judged once a node. More of them only pay with more cores.
workers = _reader.read("COUNTERAPP_WORKERS", whole_number, 1)
# Clients at a time, streams included; more wait in the kernel. Above what may wait for the database
# (COUNTERAPP_WAITING), so that who is too much is told so.
worker_connections = _reader.read("COUNTERAPP_CONNECTIONS", _connections, 2000)
# A stopping worker finishes what it has accepted within this time.
graceful_timeout = _reader.read("COUNTERAPP_GRACEFUL_TIMEOUT", whole_number, 30)

try:
    _reader.raise_problems()
    # Found here, a bad environment ends the master at once; a worker would only be tried again.
    Settings.from_environ(os.environ)
except SettingsError as error:
    sys.exit(str(error))

worker_class = "counterapp.gunicorn_worker.Worker"
# Each worker imports the application for itself, so the driver's threads live where they work.
preload_app = False
# Longer than a balancer keeps an idle connection: it never sends into one that we are closing.
keepalive = 75
# Heartbeats in memory: a slow disk must not look like a hanging worker.
worker_tmp_dir = "/dev/shm"
# The control socket is a way in that nobody here uses.
control_socket_disable = True
proc_name = "counterapp"
logger_class = "counterapp.gunicorn_log.JsonLogger"
# No header of a proxy is believed, whoever sends it. Said this way, nobody's address is looked up.
forwarded_allow_ips = "*"
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
