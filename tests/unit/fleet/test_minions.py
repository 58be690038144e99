"""Asking minions by name, and what is made of their answers."""

import contextlib

import pytest

from fleet import minions
from fleet.errors import FleetError
from fleet.master import Master


def state(result, changes=None, comment="", number=0, **more):
    return {
        "result": result,
        "changes": changes or {},
        "comment": comment,
        "name": more.get("name", "a name"),
        "duration": more.get("duration", 0),
        "__id__": more.get("id", "a state"),
        "__sls__": more.get("sls", "web.config"),
        "__run_num__": number,
    }


def key(id_, module="file", function="managed"):
    return f"{module}_|-{id_}_|-a name_|-{function}"


class TestReports:
    def test_a_good_run(self):
        report = minions.report(
            {key("a"): state(True), key("b"): state(True, {"new": 1}, id="changed", number=1)}
        )
        assert report.good
        assert report.states == 2
        assert [each["id"] for each in report.changed] == ["changed"]

    def test_what_a_dry_run_would_change_with_its_diff(self):
        would = state(
            None, {"diff": "+new"}, "would\n  be set", id="pending", name="/etc/x", duration=1500
        )
        report = minions.report({key("pending"): would})
        assert report.good
        assert report.changed == [
            {
                "id": "pending",
                "sls": "web.config",
                "state": "file.managed",
                "name": "/etc/x",
                "comment": "would be set",
                "changes": {"diff": "+new"},
                "seconds": 1.5,
            }
        ]

    def test_states_are_told_in_the_order_in_which_they_ran(self):
        report = minions.report(
            {
                key("b"): state(True, {"new": 1}, id="second", number=2),
                key("a"): state(True, {"new": 1}, id="first", number=1),
            }
        )
        assert [each["id"] for each in report.changed] == ["first", "second"]

    def test_changes_of_a_state_that_failed_are_no_success(self):
        report = minions.report({key("a"): state(False, {"new": 1}, "boom", id="half")})
        assert report.changed == []
        assert report.why() == "half: boom"

    def test_the_cause_is_told_and_not_its_consequences(self):
        later = state(False, None, "One or more requisite failed: web.config.x", 1, id="later")
        cause = state(False, None, "no\n  such   file", id="cause")
        report = minions.report({key("b"): later, key("a"): cause})
        assert not report.good
        assert report.why() == "cause: no such file"

    def test_consequences_alone_are_better_than_no_reason(self):
        later = state(False, None, "One or more requisite failed: web.config.x", id="later")
        assert minions.report({key("b"): later}).why().startswith("later: One or more requisite")

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (
                ["Rendering SLS 'base:web' failed:\n  boom"],
                "Rendering SLS 'base:web' failed: boom",
            ),
            (["one", "two"], "one; two"),
            ("The function is running as PID 7", "The function is running as PID 7"),
            ({}, "no state was run"),
        ],
    )
    def test_what_could_not_be_run(self, answer, words):
        report = minions.report(answer)
        assert not report.good
        assert report.why() == words


def test_last_words_of_a_traceback():
    text = "Traceback (most recent call last):\n  File x\nsalt.exceptions.SaltException: no\n"
    assert minions.last_words(text) == "SaltException: no"
    assert minions.last_words("") == "no reason was given"


class Recorded:
    """Minions that answer as they were told, and remember what they were asked."""

    def __init__(self, answers=None, failed=None):
        self.found = minions.Answers(answers or {}, failed or {})
        self.asked = []

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        self.asked.append((list(nodes), function, list(arg), dict(kwarg or {})))
        return self.found


class TestAsking:
    def test_all_answers_or_none(self):
        assert minions.ask(Recorded({"a": 1, "b": 2}), ["a", "b"], "test.ping") == {"a": 1, "b": 2}
        partly = Recorded({"a": 1}, {"b": "the minion does not answer", "c": "boom"})
        with pytest.raises(FleetError) as caught:
            minions.ask(partly, ["a", "b", "c"], "test.ping")
        assert str(caught.value) == ("test.ping failed on b: the minion does not answer; c: boom")

    def test_states_come_from_one_environment_with_their_pillar(self):
        fake = Recorded({"a": {key("x"): state(True)}})
        minions.apply(fake, ["a"], "candidate", ["web", "base"], {"release": "2"})
        assert fake.asked == [
            (
                ["a"],
                "state.sls",
                ["web,base"],
                {
                    "test": False,
                    "queue": True,
                    "saltenv": "candidate",
                    "pillarenv": "candidate",
                    "pillar": {"release": "2"},
                },
            )
        ]

    @pytest.mark.parametrize("times", [1, 2])
    def test_who_has_synced_its_modules_is_asked_once_more(self, times):
        refused = [
            "Rendering SLS 'base:web' failed: Jinja error: they are synced now: run it again"
        ]
        answers = [{"a": {key("x"): state(True)}, "b": refused}, {"b": refused}][:times]
        answers += [{"b": {key("x"): state(True)}}]
        fake = Recorded({})
        asked = []

        def everyone(nodes, *_rest):
            asked.append(list(nodes))
            return minions.Answers(answers[len(asked) - 1])

        fake.everyone = everyone
        done = minions.apply(fake, ["a", "b"], "base", ["web"])
        assert asked == [["a", "b"], ["b"]]
        assert (done["a"].good, done["b"].good) == (True, times == 1)

    def test_no_sls_is_the_highstate(self):
        fake = Recorded({"a": {key("x"): state(True)}})
        minions.apply(fake, ["a"], "base", test=True)
        [(_nodes, function, arg, kwarg)] = fake.asked
        assert (function, arg) == ("state.highstate", [])
        assert kwarg == {"test": True, "queue": True, "saltenv": "base", "pillarenv": "base"}

    def test_who_is_silent_has_a_report_too(self):
        fake = Recorded({"a": {key("x"): state(True)}}, {"b": "the minion does not answer"})
        reports = minions.apply(fake, ["a", "b"], "base", ["web"])
        assert reports["a"].good
        assert not reports["b"].good
        assert reports["b"].why() == "the minion does not answer"


class Client:
    """Salt's client, with returns by function."""

    def __init__(self, returns):
        self.returns = {function: list(rounds) for function, rounds in returns.items()}
        self.asked = []
        self.waited = []

    def cmd(self, targets, function, arg, **how):
        assert how["tgt_type"] == "list"
        assert how["full_return"]
        self.asked.append((list(targets), function, list(arg), how["kwarg"]))
        self.waited.append((how["timeout"], how["gather_job_timeout"]))
        rounds = self.returns.get(str(function), [{}])
        found = rounds.pop(0) if rounds else {}
        return {node: found[node] for node in targets if node in found}


class TestSalt:
    @pytest.fixture
    def salted(self, monkeypatch, tmp_path):
        def with_returns(returns):
            client = Client(returns)

            @contextlib.contextmanager
            def get(mopts):
                assert isinstance(mopts, dict)
                yield client

            monkeypatch.setattr(minions.salt.client, "get_local_client", get)
            made = minions.SaltMinions(Master({"counterapp_state": str(tmp_path)}))
            return made, client

        return with_returns

    def test_each_that_is_asked_is_told_of(self, salted):
        ours, _client = salted(
            {
                "test.x": [
                    {
                        "good": {"ret": 7, "retcode": 0},
                        "none": {"ret": None, "retcode": 0},
                        "bad": {"ret": "Traceback\nValueError: no", "retcode": 1},
                        "silent": {"ret": "", "out": "no_return"},
                        "odd": False,
                    }
                ]
            }
        )
        found = ours.everyone(["good", "none", "bad", "silent", "odd", "missing"], "test.x")
        assert found.answers == {"good": 7, "none": None}
        assert found.failed == {
            "bad": "ValueError: no",
            "silent": "the minion does not answer",
            "odd": "the minion does not answer",
            "missing": "the minion does not answer",
        }
        assert found.problems()[0] == "bad: ValueError: no"

    def test_a_dictionary_that_comes_with_a_bad_code_is_an_answer(self, salted):
        ours, _client = salted({"state.sls": [{"a": {"ret": {"x": 1}, "retcode": 2}}]})
        assert ours.everyone(["a"], "state.sls").answers == {"a": {"x": 1}}

    def test_nobody_is_nothing(self, salted):
        ours, client = salted({})
        assert ours.everyone([], "test.ping") == minions.Answers()
        assert client.asked == []

    def test_who_asks_many_waits_longer_since_their_master_hears_one_after_the_other(self, salted):
        ours, client = salted({})
        for number in (1, 8, 28):
            ours.everyone([f"web-{each}" for each in range(number)], "test.ping", (), {}, 10, 5)
        assert client.waited == [(10, 5), (10, 5), (13, 8)]

    def test_a_module_that_is_not_loaded_yet_is_loaded_and_asked_again(self, salted):
        late = {"ret": "'mongodb.status' is not available.", "retcode": 254}
        there = {"ret": {"state": "PRIMARY"}, "retcode": 0}
        ours, client = salted(
            {
                "mongodb.status": [{"a": there, "b": late}, {"b": there}],
                "saltutil.refresh_modules": [{"b": {"ret": True, "retcode": 0}}],
            }
        )
        found = ours.everyone(["a", "b"], "mongodb.status", ["x"], {"y": 1})
        assert found.answers == dict.fromkeys("ab", {"state": "PRIMARY"})
        assert client.asked == [
            (["a", "b"], "mongodb.status", ["x"], {"y": 1}),
            (["b"], "saltutil.refresh_modules", [], {"async": False}),
            (["b"], "mongodb.status", ["x"], {"y": 1}),
        ]

    def test_another_function_that_is_missing_is_a_failure(self, salted):
        late = {"ret": "'gluster.info' is not available.", "retcode": 254}
        ours, client = salted({"mongodb.status": [{"a": late}]})
        assert ours.everyone(["a"], "mongodb.status").failed == {
            "a": "'gluster.info' is not available."
        }
        assert len(client.asked) == 1


def test_what_cannot_be_rendered_is_told_once_and_without_a_trace():
    def text(sls):
        return (
            f"Rendering SLS 'candidate:{sls}' failed: Jinja error: mongodb:compressors is wrong\n"
            "/var/cache/salt/minion/files/candidate/db/map.jinja(14):\n---\n[...]\n"
            "{{- raise('mongodb:compressors is wrong') -}}\n---\nTraceback (most recent call last):"
        )

    told = minions.report([text("db.install"), text("db.config"), "The role is unknown"])
    assert told.error == (
        "Rendering SLS 'candidate:db.install' failed: Jinja error: mongodb:compressors is wrong "
        "(db/map.jinja, line 14); The role is unknown"
    )
