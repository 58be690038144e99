"""How a change looks: in lines, on a terminal, and to who watches it from elsewhere."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
import time
from datetime import UTC, datetime

import pytest

from fleet import bus, screen
from fleet.change import Change, StepFailed
from fleet.errors import FleetError
from fleet.master import Master
from fleet.screen import Screen
from fleet.words import Words, duration
from tests.support.waiting import until

START = 1_800_000_000
CHANGE = {"change": "20270115-080000-abcd", "kind": "rollout"}


def event(kind, second=0, **facts):
    when = datetime.fromtimestamp(START + second, UTC).isoformat(timespec="seconds")
    return {**CHANGE, "event": kind, "time": when, **facts}


def step(kind, second=0, node="web-1", stage="web", text="draining it in every balancer", **facts):
    return event(kind, second, stage=stage, node=node, step=text, **facts)


BEGUN = event("begun", owner="ana@boss", release="1.4.0", to="aaaaaaaaaaaa")
FAILED = {"stage": "db", "node": "db-1", "step": "applying db", "reason": ["x: no", "y: no"]}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (28.4, "28 s"), (200, "3 min 20 s"), (18720, "5 h 12 min"), (273600, "3 d 4 h")],
)
def test_times_are_in_words(seconds, words):
    assert duration(seconds) == words


class TestWords:
    def lines(self, *events):
        words = Words()
        return [line for each in events if (line := words.line(each))]

    def test_a_change_begins_and_ends(self):
        assert self.lines(
            BEGUN, event("ended", 70, outcome="succeeded", seconds=70, changes={"a": 2, "b": 1})
        ) == [
            "rollout 20270115-080000-abcd of ana@boss begins, release 1.4.0, revision aaaaaaaaaaaa",
            "rollout 20270115-080000-abcd succeeded after 1 min 10 s, 3 states changed on 2 nodes",
        ]

    def test_a_failure_names_node_step_and_reasons(self):
        ended = event("ended", outcome="undone", seconds=3.2, failed=FAILED)
        assert self.lines(ended) == [
            "rollout 20270115-080000-abcd failed and was undone after 3 s: "
            "db-1: db: applying db: x: no; y: no"
        ]
        died = {"stage": None, "node": None, "step": None, "reason": ["KeyboardInterrupt: "]}
        [line] = self.lines(event("ended", outcome="failed", failed=died))
        assert line.endswith("failed: KeyboardInterrupt: ")

    def test_a_step_says_what_it_waits_for_and_how_long(self):
        assert self.lines(
            step("begins"), step("waits", 1, seen="2 sessions left", left=28.0), step("done", 2)
        ) == [
            "web-1: web: draining it in every balancer",
            "web-1: web: draining it in every balancer: 2 sessions left, 28 s left",
        ]

    def test_a_number_that_runs_down_is_no_news_each_time_and_something_else_is(self):
        seen = ["9 sessions", "8 sessions", "a session of ana", "7 sessions"]
        events = [step("waits", at, seen=each) for at, each in enumerate(seen)]
        events.append(step("waits", 9, seen="6 sessions"))
        told = [line.rpartition(": ")[2] for line in self.lines(*events)]
        assert told == ["9 sessions", "a session of ana", "7 sessions", "6 sessions"]

    def test_a_step_that_took_its_time_is_told_to_be_done(self):
        did = {"web-1": {"states": 40, "changed": ["a", "b"]}}
        quick = [step("begins"), step("done", 1, did=None)]
        assert len(self.lines(*quick)) == 1
        assert self.lines(step("begins"), step("done", 12, did=did))[1].endswith(
            ": done after 12 s, 2 of 40 states changed"
        )

    def test_a_preflight_applies_nothing(self):
        text = "checking what a rollout needs"
        for did, words in (
            ({"web-1": {"web.config": ["a", "b"]}, "db-1": {}}, "2 states would change on 1 node"),
            ({"web-1": {}}, "nothing would change"),
        ):
            done = step("done", 9, None, "preflight", text, did=did)
            assert self.lines(done) == [f"preflight: {text}: done, {words}"]

    def test_data_for_the_journal_is_not_told(self):
        assert self.lines(step("done", did={"hits": 20, "by_node": {"web-1": 20}})) == []

    def test_a_failed_step_says_why(self):
        [line] = self.lines(step("fails", reason=["no quorum"]))
        assert line == "web-1: web: draining it in every balancer: failed: no quorum"

    def test_what_becomes_known_of_the_change_is_told(self):
        noted = event("note", release="1.4.0", to="bbbbbbbbbbbb", **{"from": "aaaaaaaaaaaa"})
        assert self.lines(noted) == [
            "rollout 20270115-080000-abcd, release 1.4.0, revision bbbbbbbbbbbb after aaaaaaaaaaaa"
        ]

    def test_hooks_that_fail_are_told(self):
        hook = {"hook": "/usr/local/bin/page", "moment": "after"}
        assert self.lines(event("hook", **hook), event("hook", **hook, reason="exit code 1")) == [
            "hook /usr/local/bin/page (after): failed: exit code 1"
        ]

    def test_notes_and_kinds_of_later_versions_are_passed_over(self):
        assert self.lines(event("note", touched={}), event("rests")) == []


class Terminal:
    """A terminal of so many columns and lines, and what stands on it."""

    def __init__(self, columns=80, rows=24):
        self.master, other = pty.openpty()
        os.set_blocking(self.master, False)
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.stream = os.fdopen(other, "w", encoding="utf-8")
        self.raw = ""
        self.rows = [""]
        self.row = 0

    def close(self):
        self.stream.close()
        os.close(self.master)

    def shown(self):
        """Return the lines that stand there now, without colours."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.master, 65536):
                text = data.decode()
                self.raw += text
                self._feed(text.replace("\r\n", "\n"))
        return [row for row in self.rows if row]

    def _feed(self, text):
        for token in re.findall(r"\033\[[0-9;]*[A-Za-z]|\n|[^\033\n]+", text):
            if token == "\n":
                self.row += 1
                if self.row == len(self.rows):
                    self.rows.append("")
                self.written = False
            elif token.endswith("F") and token.startswith("\033"):
                self.row -= int(token[2:-1])
                self.written = False
            elif token == "\033[J":
                del self.rows[self.row + 1 :]
                self.rows[self.row] = ""
            elif not token.startswith("\033"):
                self.rows[self.row] = (self.rows[self.row] if self.written else "") + token
                self.written = True

    written = False


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = []

    def make(**size):
        made.append(Terminal(**size))
        return made[-1]

    yield make
    for each in made:
        each.close()


class TestTerminal:
    def screen(self, terminal, second=0):
        return Screen(terminal.stream, lambda: START + self.second)

    second = 0

    def test_a_line_a_node_is_drawn_again_in_place(self, terminal):
        seen = terminal()
        with self.screen(seen) as shows:
            for each in (
                BEGUN,
                step("begins", node="web-1"),
                step("waits", seen="2 sessions left", left=28),
                step("begins", node="db-1", stage="db", text="stepping down"),
            ):
                shows(each)
            assert seen.shown() == [
                "▸ rollout 20270115-080000-abcd, 0 s, release 1.4.0, revision aaaaaaaaaaaa",
                "▸ web-1  web  draining it in every balancer: 2 sessions left, 28 s left",
                "▸ db-1   db   stepping down",
            ]
            shows(step("done", node="web-1"))
            self.second = 9
            shows(step("fails", node="db-1", stage="db", text="stepping down", reason=["no"]))
            assert seen.shown() == [
                "▸ rollout 20270115-080000-abcd, 9 s, release 1.4.0, revision aaaaaaaaaaaa",
                "✓ web-1  web  draining it in every balancer",
                "✗ db-1   db   stepping down: no",
            ]
            shows(event("ended", 9, outcome="undone", seconds=9, failed=FAILED))
        lines = seen.shown()
        assert lines[0] == "✗ rollout 20270115-080000-abcd failed and was undone after 9 s"
        assert lines[-1] == "db-1: db: applying db: x: no; y: no"

    def test_what_becomes_known_of_the_change_stands_with_it(self, terminal):
        seen = terminal()
        with self.screen(seen) as shows:
            shows(event("begun", owner="ana@boss"))
            shows(event("note", release="1.4.0", to="bbbbbbbbbbbb"))
            shows(event("note", touched={}))
            assert seen.shown() == [
                "▸ rollout 20270115-080000-abcd, 0 s, release 1.4.0, revision bbbbbbbbbbbb"
            ]

    def test_a_warning_stays(self, terminal):
        seen = terminal()
        with self.screen(seen) as shows:
            shows(step("begins", node=None, stage="preflight", text="checking"))
            shows(event("warns", node="db-1", stage="preflight", text="its mongod is old"))
            shows(step("done", node=None, stage="preflight", text="checking", did=None))
            shows(step("begins"))
            assert seen.shown()[0] == "db-1: preflight: its mongod is old"
            assert seen.shown()[-1] == "▸ web-1  web  draining it in every balancer"
            assert len(seen.shown()) == 3

    def test_time_left_runs_down_by_itself(self, terminal, monkeypatch):
        monkeypatch.setattr(screen, "_TICK", 0.05)
        seen = terminal()
        with self.screen(seen) as shows:
            shows(BEGUN)
            shows(step("begins"))
            shows(step("waits", seen="2 sessions left", left=28))
            self.second = 8
            until(
                lambda: seen.shown()[1],
                10,
                "20 s are left",
                wanted=lambda line: line.endswith("2 sessions left, 20 s left"),
            )

    def test_a_step_of_several_nodes_is_on_the_line_of_each(self, terminal):
        seen = terminal()
        with self.screen(seen) as shows:
            shows(step("begins", node="db-1, db-2", stage="db", text="applying db.config"))
            assert seen.shown()[1:] == [
                "▸ db-1  db  applying db.config",
                "▸ db-2  db  applying db.config",
            ]

    def test_steps_within_a_step(self, terminal):
        seen = terminal()
        with self.screen(seen) as shows:
            shows(step("begins", text="replacing it"))
            shows(step("begins", text="applying web"))
            shows(step("done", text="applying web"))
            assert seen.shown()[1] == "▸ web-1  web  replacing it"
            shows(step("begins", text="applying web"))
            # What the outer step failed at is told by the inner one alone.
            shows(step("fails", text="applying web", reason=["no"]))
            assert seen.shown()[1] == "✗ web-1  web  applying web: no"

    def test_it_fits_into_a_small_terminal(self, terminal):
        seen = terminal(columns=30, rows=6)
        with self.screen(seen) as shows:
            shows(BEGUN)
            for number in range(9):
                shows(step("begins", node=f"web-{number}"))
                if number != 7:
                    shows(step("done", node=f"web-{number}"))
            lines = seen.shown()
        assert len(lines) == 5
        assert max(map(len, lines)) <= 29
        assert "▸ web-7  web  draining it in…" in lines
        assert lines[-1] == "  and 6 nodes more"

    def test_a_terminal_that_does_not_know_its_size_is_taken_for_a_common_one(self, terminal):
        seen = terminal(columns=0, rows=0)
        with self.screen(seen) as shows:
            shows(step("begins"))
            assert seen.shown()[1] == "▸ web-1  web  draining it in every balancer"

    def test_what_belongs_to_no_node_has_a_line_as_long_as_it_is_done(self, terminal):
        seen = terminal()
        with self.screen(seen) as shows:
            whole = {"node": None, "stage": "preflight", "text": "checking"}
            shows(BEGUN)
            shows(step("begins", **whole))
            shows(step("waits", **whole, seen="asking"))
            assert seen.shown()[1:] == ["▸ fleet  preflight  checking: asking"]
            shows(step("begins"))
            assert len(seen.shown()) == 3
            shows(step("done", **whole, did=None))
            assert seen.shown()[1:] == ["▸ web-1  web  draining it in every balancer"]

    def test_waiting_for_the_lock_is_shown_before_the_change_begins(self, terminal):
        seen = terminal()
        with self.screen(seen) as shows:
            shows(step("waits", node=None, stage="lock", text="taking the lock", seen="busy"))
            assert seen.shown()[1:] == ["▸ fleet  lock  taking the lock: busy"]
            shows(BEGUN)
            assert len(seen.shown()) == 1

    def test_colours_are_left_out_where_nobody_wants_them(self, terminal, monkeypatch):
        coloured, bare = terminal(), terminal()
        with self.screen(coloured) as shows:
            shows(BEGUN)
        coloured.shown()
        assert "\033[33m" in coloured.raw
        monkeypatch.setenv("NO_COLOR", "1")
        with self.screen(bare) as shows:
            shows(BEGUN)
        bare.shown()
        assert "\033[33m" not in bare.raw
        assert bare.rows[0].startswith("▸ rollout")

    def test_a_dumb_terminal_gets_plain_lines(self, terminal, monkeypatch):
        monkeypatch.setenv("TERM", "dumb")
        seen = terminal()
        with self.screen(seen) as shows:
            shows(step("begins"))
        assert seen.shown() == ["web-1: web: draining it in every balancer"]
        assert "\033" not in seen.raw


def test_what_is_no_terminal_gets_plain_lines():
    stream = io.StringIO()
    shows = Screen(stream)
    shows(step("begins"))
    shows(event("note"))
    assert stream.getvalue() == "web-1: web: draining it in every balancer\n"


class TestWatch:
    @pytest.fixture
    def master(self, tmp_path, monkeypatch):
        """A master with a bus of the test's own: what is told is heard by who watches."""
        told = []

        @contextlib.contextmanager
        def events(_master, quiet=1):
            def heard():
                while True:
                    yield told.pop(0) if told else None
                    time.sleep(0.02)

            yield heard()

        monkeypatch.setattr(bus, "events", events)
        master = Master({"id": "boss", "counterapp_state": str(tmp_path / "state")})
        self.told = told
        return master

    def watched(self, master, stream):
        """Watch in a thread of its own; return it and what it came to."""
        came = []

        def run():
            try:
                came.append(screen.watch(master, stream))
            except FleetError as error:
                came.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread, came

    def test_it_shows_what_was_before_and_what_comes(self, master):
        stream = io.StringIO()
        with Change(master, "rollout", listeners=(self.told.append,), release="1.4.0") as change:
            with change.step("web", "draining it", node="web-1"):
                pass
            thread, came = self.watched(master, stream)
            with change.step("db", "stepping down", node="db-1") as at:
                at.waits("no primary yet", left=9)
                until(lambda: "no primary yet, 9 s left" in stream.getvalue(), 10, "it is shown")
        thread.join(timeout=10)
        [end] = came
        assert end["id"] == change.id
        assert end["outcome"] == "succeeded"
        lines = stream.getvalue().splitlines()
        assert [line.partition(":")[0] for line in lines[1:4]] == ["web-1", "db-1", "db-1"]
        assert "begins, release 1.4.0" in lines[0]
        assert f"rollout {change.id} succeeded after" in lines[-1]

    def test_a_change_that_fails_is_an_error(self, master):
        stream = io.StringIO()
        with (
            contextlib.suppress(StepFailed),
            Change(master, "rollout", listeners=(self.told.append,)) as change,
        ):
            thread, came = self.watched(master, stream)
            until(lambda: "begins" in stream.getvalue(), 10, "it is watched")
            with change.step("db", "stepping down", node="db-1"):
                raise FleetError("no")
        thread.join(timeout=10)
        assert f"rollout {change.id} failed after" in str(came[0])
        assert str(came[0]).endswith("db-1: db: stepping down: no")

    def test_no_change_runs(self, master):
        assert screen.watch(master, io.StringIO()).startswith("no change runs now")

    def test_a_change_whose_process_dies(self, master, monkeypatch):
        stream = io.StringIO()
        with Change(master, "rollout", listeners=(self.told.append,)):
            thread, came = self.watched(master, stream)
            until(lambda: "begins" in stream.getvalue(), 10, "it is watched")
            real = screen.lock.holder
            monkeypatch.setattr(
                screen.lock, "holder", lambda folder: {**real(folder), "alive": False}
            )
            thread.join(timeout=10)
            monkeypatch.undo()
        assert "died before its end: run the same command again" in str(came[0])
