"""Hooks are told what a change is, signed where it goes over a network, and break nothing."""

import hashlib
import hmac
import http.server
import json
import sys
import threading

import pytest

from fleet import hooks
from fleet.change import Change
from fleet.errors import FleetError
from fleet.master import Master

SECRET = "sixteen-or-more-characters"


@pytest.fixture
def change(tmp_path, told):
    master = Master({"id": "boss", "counterapp_state": str(tmp_path / "state")})
    with Change(master, "rollout", listeners=(told.append,), to="abc") as opened:
        yield opened


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def receiver():
    """A web server that answers with the next of ``statuses``, and keeps what it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append((self.path, dict(self.headers), body))
            self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Keep a test's output readable."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.got, server.statuses = [], []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}/told?x=1"
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(hooks, "PAUSE", 0.01)


def program(path, code):
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o700)
    return str(path)


def failures(told):
    return [event for event in told if event["event"] == "hook"]


def noted(change):
    return [line for line in change.journal.lines() if line["event"] == "hook"]


def test_a_command_gets_the_changes_line_as_json(change, told, tmp_path):
    code = (
        "import os, sys\n"
        "open(sys.argv[1], 'w').write(os.environ['COUNTERAPP_HOOK'] + ' ' + sys.stdin.read())"
    )
    target = tmp_path / "a file; rm -rf"
    entry = {"command": [program(tmp_path / "hook", code), str(target)]}
    hooks.hook({"hooks": {"before": [entry]}}, change)("before", change.entry("begun"))
    moment, _, line = target.read_text().partition(" ")
    assert moment == "before"
    assert json.loads(line)["id"] == change.id
    assert json.loads(line)["to"] == "abc"
    assert failures(told) == []
    assert [each["moment"] for each in noted(change)] == ["before"]


def test_only_those_of_the_moment_are_called(change, receiver, secret):
    entry = {"webhook": receiver.url, "secret_file": str(secret)}
    call = hooks.hook({"hooks": {"failure": [entry], "after": []}}, change)
    call("before", {})
    call("after", {})
    assert receiver.got == []
    call("failure", {})
    assert len(receiver.got) == 1


def test_without_hooks_nothing_is_done(change):
    for settings in ({}, {"hooks": None}, {"hooks": {"before": None}}):
        hooks.hook(settings, change)("before", {})
    assert noted(change) == []


def test_a_webhook_is_signed(change, told, receiver, secret):
    entry = {"webhook": receiver.url, "secret_file": str(secret)}
    hooks.hook({"hooks": {"after": [entry]}}, change)("after", change.entry("succeeded"))
    [(path, headers, body)] = receiver.got
    assert path == "/told?x=1"
    assert json.loads(body)["outcome"] == "succeeded"
    wanted = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Counterapp-Signature"] == f"sha256={wanted}"
    assert headers["X-Counterapp-Hook"] == "after"
    assert headers["Content-Type"] == "application/json"
    assert SECRET not in json.dumps([told, change.journal.lines()])
    assert failures(told) == []


@pytest.mark.parametrize(
    ("statuses", "tries", "reason"),
    [
        ([500, 503], 3, None),
        ([429], 2, None),
        ([500, 500, 500], 3, "500 Internal Server Error, 3 times"),
        ([403], 1, "403 Forbidden"),
        # What is signed for one is sent to no other.
        ([302], 1, "302 Found"),
    ],
)
def test_a_webhook_is_tried_again_while_that_may_help(
    change, told, receiver, secret, statuses, tries, reason
):
    receiver.statuses = list(statuses)
    entry = {"webhook": receiver.url, "secret_file": str(secret)}
    hooks.hook({"hooks": {"after": [entry]}}, change)("after", {})
    assert len(receiver.got) == tries
    assert [reason in event["reason"] for event in failures(told)] == ([True] if reason else [])


def test_nobody_who_hears_a_webhook_is_told(change, told, receiver, secret):
    receiver.shutdown()
    receiver.server_close()
    entry = {"webhook": receiver.url, "secret_file": str(secret), "timeout": 0.5}
    hooks.hook({"hooks": {"after": [entry]}}, change)("after", {})
    [event] = failures(told)
    assert "no answer, 3 times" in event["reason"]
    # A path may have a secret of its own in it.
    assert event["hook"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("code", "timeout", "reason"),
    [
        ("import sys; sys.exit('first\\nno such channel')", 20, "ended with 1: no such channel"),
        ("import os; os.kill(os.getpid(), 9)", 20, "it ended with -9"),
        ("import subprocess; subprocess.run(['sleep', '60'])", 0.5, "not done within 0.5 s"),
    ],
)
def test_a_command_that_fails_is_told_and_noted_and_breaks_nothing(
    change, told, tmp_path, code, timeout, reason
):
    bad = {"command": [program(tmp_path / "bad", code)], "timeout": timeout}
    good = {"command": [program(tmp_path / "good", f"open({str(tmp_path / 'ran')!r}, 'w')")]}
    hooks.hook({"hooks": {"failure": [bad, good]}}, change)("failure", {})
    [event] = failures(told)
    assert reason in event["reason"]
    assert [reason in line.get("reason", "") for line in noted(change)] == [True, False]
    assert (tmp_path / "ran").exists()


def test_a_program_that_does_not_read_what_it_is_told_is_no_failure(change, told, tmp_path):
    entry = {"command": [program(tmp_path / "deaf", "pass")]}
    hooks.hook({"hooks": {"after": [entry]}}, change)("after", {"nodes": ["x" * 70] * 5000})
    assert failures(told) == []


def test_a_change_ends_well_though_its_hook_failed(tmp_path, secret):
    master = Master({"id": "boss", "counterapp_state": str(tmp_path / "state")})
    change = Change(master, "rollout").open()
    entry = {"webhook": "http://127.0.0.1:1/", "secret_file": str(secret)}
    change.hook = hooks.hook({"hooks": {"after": [entry]}}, change)
    assert change.close()["outcome"] == "succeeded"
    assert "no answer" in noted(change)[0]["reason"]


def test_a_secret_that_went_meanwhile_is_told(change, told, receiver, secret):
    entry = {"webhook": receiver.url, "secret_file": str(secret)}
    call = hooks.hook({"hooks": {"after": [entry]}}, change)
    secret.unlink()
    call("after", {})
    assert failures(told)[0]["reason"] == f"{secret}: No such file or directory"
    assert receiver.got == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([], "is a mapping of before, after, failure"),
        ({"befor": []}, "has no 'befor'"),
        ({"before": {}}, None),
        ({"before": {"command": ["/bin/true"]}}, "before is a list of hooks"),
        ({"before": ["/bin/true"]}, "before, number 1: write either"),
        ({"before": [{"command": ["/bin/true"], "webhook": "http://x"}]}, "write either"),
        ({"before": [{"command": "/bin/true -x"}]}, "command must be a list of texts"),
        ({"before": [{"command": ["/bin/true", 1]}]}, "command must be a list of texts"),
        ({"before": [{"command": ["true"]}]}, "give the program's whole path"),
        ({"before": [{"command": ["/nowhere/true"]}]}, "no program /nowhere/true"),
        ({"before": [{"command": ["/bin/true"], "timout": 3}]}, "a command has no 'timout'"),
        ({"before": [{"command": ["/bin/true"], "timeout": "3"}]}, "number of seconds, not '3'"),
        ({"after": [{"webhook": "ftp://x/", "secret_file": "/x"}]}, "must be the URL"),
        ({"after": [{"webhook": "http://a:b@x/", "secret_file": "/x"}]}, "no user or password"),
        ({"after": [{"webhook": "http://x/"}]}, "secret_file must be the whole path"),
        ({"after": [{"webhook": "http://x/", "secret_file": "/no"}]}, "/no: No such file"),
    ],
)
def test_settings_that_are_wrong_are_named(change, wrong, words):
    found = hooks.problems({"hooks": wrong})
    assert (words is None and not found) or any(words in each for each in found)
    if found and wrong:
        with pytest.raises(FleetError):
            hooks.hook({"hooks": wrong}, change)


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [(0o644, SECRET, "chmod 600"), (0o600, "short", "16 characters or more")],
)
def test_a_secret_that_is_none_is_named_and_not_told(secret, mode, text, words):
    secret.write_text(text)
    secret.chmod(mode)
    settings = {"hooks": {"after": [{"webhook": "http://x/", "secret_file": str(secret)}]}}
    [problem] = hooks.problems(settings)
    assert words in problem
    assert text not in problem
