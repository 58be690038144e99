"""An honest client and his abusers, side by side on one node."""

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import time
import uuid

import pytest

from tests.support.loading import ROOT
from tests.support.waiting import PATIENCE

FLOOR = 0.004
"""Seconds of a processor; a median below is as good as this."""

PACE = 0.012
"""Seconds from one of the honest client's requests to the next."""

ROUNDS = 3

WAITED_SECONDS = 10 * PATIENCE
"""For how long he waits for an answer: as long as a busy machine may need, and no longer."""

HERE = "127.0.0.1"
ELSEWHERE = [f"127.0.0.{number}" for number in range(2, 8)]


class Honest:
    """A client on one connection, who hits a counter of his own and checks each answer."""

    def __init__(self, node):
        self._node = node
        self._path = f"/api/v1/counters/honest/{uuid.uuid4().hex}"
        self._connection = http.client.HTTPConnection(HERE, node.port, WAITED_SECONDS, (HERE, 0))
        self._value = 0

    def hit(self):
        self._connection.request("POST", f"{self._path}/hits")
        answer = self._connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 200, body
        self._value += 1
        assert body["value"] == self._value

    def median(self, turns, beside=contextlib.nullcontext):
        """Hit at a pace of his own for so many turns, and return the median of what he waited for.

        That is what the node computed until he had his answer. It is the same however busy the
        machine is with other things; and where a node waits instead, the answer never comes.

        :param beside: what goes on during each of his turns. Who abuses the node at a pace of his
            own would have it compute the more during one turn, the slower the machine is.
        """
        waited = []
        for _ in range(turns):
            begun, computed = time.monotonic(), self._node.computed()
            with beside():
                self.hit()
                waited.append(self._node.computed() - computed)
            time.sleep((begun - time.monotonic()) % PACE)
        return statistics.median(waited)

    def check(self):
        """Compare what the node has with what it said."""
        assert self._node.get(self._path).json()["value"] == self._value


class Abuse:
    """Groups of connections to a node, as :mod:`~tests.functional.app.attack.abuser` has them."""

    def __init__(self, node, *groups):
        self._spec = {"port": node.port, "groups": [{"addresses": ELSEWHERE} | g for g in groups]}

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.functional.app.attack.abuser"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(self._spec))
        assert self._process.stdout.readline() == "begun\n"
        return self

    def _say(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    @contextlib.contextmanager
    def turn(self):
        """Have connections that take turns send now; their answers are there in the end."""
        self._say("turn")
        yield
        assert self._process.stdout.readline() == "turned\n"

    def report(self):
        """Return what the connections have been told so far."""
        self._say("report")
        return json.loads(self._process.stdout.readline())

    def __exit__(self, *_):
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()


@pytest.fixture
def beside():
    """Return a function that lets an honest client go on without, with and without an abuse.

    His answers are right throughout, and his median with the abuse is at most twice the other one.
    The best of some rounds decides, for a node has things of its own to do. The function takes what
    is to be asked of the abuse before it ends, and gives the answer; by default its report.
    """

    def run(honest, abuse, turns=150, ask=lambda abuse: abuse.report()):
        seen = []
        for _ in range(ROUNDS):
            before = honest.median(75)
            with abuse:
                during = honest.median(turns, abuse.turn)
                report = ask(abuse)
            # What the abusers have asked for and left behind is no part of the time without them.
            for _ in range(3):
                honest.hit()
            after = honest.median(75)
            honest.check()
            without = max(statistics.mean([before, after]), FLOOR)
            seen.append((without, during))
            if during <= 2 * without:
                return report
        raise AssertionError(
            f"medians without and with the abuse, in seconds of a processor: {seen}; {report}"
        )

    return run


@pytest.fixture
def honest(node):
    return Honest(node)


@pytest.fixture
def node(single, make_node):
    """A node that has served its first requests."""
    node = make_node(single).start()
    for _ in range(20):
        node.post("/api/v1/counters/warm/warm/hits")
    return node
