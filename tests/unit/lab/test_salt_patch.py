"""Our patch of Salt: what its rules let a minion say, what a run of states compiles, and that it is
the locked version's.

What the patched master does is in ``tests/integration/test_event_bus.py``.
"""

import collections
import importlib.util
import logging
import pathlib
import re
import shutil
import subprocess
import types

import jinja2
import pytest
import salt.config
import salt.fileclient
import salt.utils.templates

from lab import wheels

ME, OTHER = "web-1", "web-2"
JID = "20260101000000000000"


@pytest.fixture(scope="module")
def patch():
    return wheels._find_patch(wheels._split_lock()[0]).read_text()


@pytest.fixture
def rules(patch):
    """The file of rules that the patch adds."""
    added = patch.partition("+++ b/salt/utils/minionevents.py\n")[2].partition("\ndiff ")[0]
    code = [line[1:] for line in added.splitlines() if line.startswith("+")]
    module = types.ModuleType("salt.utils.minionevents")
    exec("\n".join(code), module.__dict__)
    return module


class Keys:
    def fetch(self, bank, minion):
        assert bank == "keys"
        return {"state": "accepted"} if minion in (ME, OTHER) else {}


def test_a_patched_salt_says_so(patch):
    assert re.search(r"^\+__version__ = .*\+counterapp\.\d+\"$", patch, re.M)


@pytest.mark.parametrize(
    "tag",
    [
        "shop/order/new",
        "minion_start",
        "_salt_error",
        f"salt/minion/{ME}/start",
        f"salt/beacon/{ME}/load/",
        f"salt/job/{JID}/prog/{ME}/0",
        f"salt/job/{JID}/start/{ME}",
        f"salt/state_result/{JID}/{ME}/a name",
    ],
)
def test_a_minion_may_speak_of_itself(rules, tag, caplog):
    assert rules.may_fire({}, ME, tag, {"id": ME, "data": {}})
    assert not caplog.records


@pytest.mark.parametrize(
    "tag",
    [
        f"salt/job/{JID}/publish",
        "salt/job/publish",
        f"salt/job/{JID}/new",
        f"salt/job/{JID}/ret/{ME}",
        f"salt/job/{JID}/ret/{OTHER}",
        f"salt/job/{JID}/prog/{OTHER}/0",
        f"salt/job/{JID}/prog/{ME}x/0",
        f"salt/minion/{OTHER}/start",
        f"salt/beacon/{OTHER}/load/",
        f"salt/batch/{JID}/new",
        f"salt/run/{JID}/ret",
        f"salt/wheel/{JID}/ret",
        "salt/auth",
        "salt/key",
        "salt/fileserver/gitfs/update",
        "salt/presence/change",
        "salt/netapi/hook/deploy",
        "salt/event/exit",
        "any/salt/reactors/manage/add",
        "cluster/runner/sync_roots",
        "cluster/peer/join",
        "rotate_aes_key",
        "rotate_cluster_aes_key",
        "key",
        f"minion/refresh/{OTHER}",
        f"syndic/{ME}/{JID}",
        f"{JID}/ret",
        "shop/order\n\n",
        f"salt/job/{JID}/prog/{ME}/0\n\n",
        b"salt/auth",
        None,
        "",
    ],
)
def test_a_minion_may_not_speak_for_the_master_or_another(rules, tag, caplog):
    assert not rules.may_fire({}, ME, tag, {"id": ME})
    # Salt's loggers make text of bytes.
    told = tag.decode() if isinstance(tag, bytes) else tag
    assert f"{told!r} of minion {ME!r}: " in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("shop/order/new", {"__peer_id": "peer"}),
        ("shop/order/new", {"id": OTHER}),
        ("shop/order/new", ["id"]),
        (f"salt/job/{JID}/prog/{ME}/0", {"minions": [OTHER]}),
        (f"salt/job/{JID}/prog/{ME}/0", {"resource_id": OTHER}),
    ],
)
def test_nor_in_what_it_says(rules, tag, data):
    assert not rules.may_fire({}, ME, tag, data)


@pytest.mark.parametrize(
    ("opts", "pretag", "may"),
    [
        ({}, f"syndic/{ME}", False),
        ({"order_masters": True}, f"syndic/{ME}", True),
        ({"order_masters": True}, f"syndic/{OTHER}", False),
        ({"order_masters": True}, f"salt/job/{JID}", False),
    ],
)
def test_only_a_master_of_masters_takes_a_pretag_and_only_the_syndics_own(rules, opts, pretag, may):
    tag = f"{pretag}/salt/job/{JID}/new"
    assert rules.may_fire(opts, ME, tag, {"minions": [OTHER]}, pretag=pretag) is may


@pytest.mark.parametrize(
    ("load", "may"),
    [
        ({"jid": JID}, True),
        ({"jid": "req"}, True),
        ({"jid": JID, "resource_id": ME}, True),
        ({"jid": JID, "resource_id": "a-switch"}, True),
        ({"jid": JID, "resource_id": OTHER}, False),
        ({"jid": JID, "resource_id": "../minions"}, False),
        ({"jid": JID, "resource_id": [OTHER]}, False),
        ({"jid": JID, "__peer_id": "peer"}, False),
        ({"jid": f"{JID}/ret/{OTHER}"}, False),
        ({"jid": f"{JID}\n\n"}, False),
        ({"jid": b"1/publish\n\n"}, False),
        ({}, False),
    ],
)
def test_a_minion_returns_for_itself_and_its_devices(rules, load, may, tmp_path):
    opts = {"pki_dir": str(tmp_path)}
    assert rules.may_return(opts, ME, load, Keys()) is may


def test_only_a_master_of_masters_takes_returns_of_many(rules):
    assert not rules.may_return_for_others({}, ME)
    assert rules.may_return_for_others({"order_masters": True}, ME)


def test_the_name_of_a_failed_state_is_one(rules):
    assert rules.may_name_state(ME, "file.managed")
    assert not rules.may_name_state(ME, "salt/job/x.y/publish")


def test_refusals_do_not_fill_the_log_and_one_minions_do_not_hide_anothers(rules, caplog):
    for _ in range(1000):
        rules.may_fire({}, ME, "salt/auth", {})
    assert len(caplog.records) == rules._LOGGED
    rules.may_fire({}, OTHER, "salt/auth", {})
    assert f"of minion {OTHER!r}" in caplog.records[-1].message
    begun, count = rules._refused[ME]
    rules._refused[ME] = (begun - rules._SECONDS, count)
    rules.may_fire({}, ME, "salt/auth", {})
    assert f"{1000 - rules._LOGGED} more events of minion {ME!r}" in caplog.text


class Run:
    """A run of states with a folder of templates; it counts what is compiled, by name."""

    def __init__(self, render, folder, keeping=True):
        self._render = render
        self.folder = folder
        self._opts = salt.config.minion_config(None)
        self._opts.update(
            cachedir=str(folder / "cache"),
            file_client="local",
            file_roots={"base": [str(folder)]},
        )
        self._client = salt.fileclient.LocalClient(self._opts)
        if keeping:
            self._client.compiled_templates = {}
        self.compiled = collections.Counter()

    def render(self, text, **opts):
        context = {"opts": {**self._opts, **opts}, "saltenv": "base", "sls": "some"}
        return self._render(text, {**context, "fileclient": self._client})


@pytest.fixture
def run(patch, tmp_path, monkeypatch):
    """What makes a run, with Salt's templates as the patch has them."""
    name = "salt/utils/templates.py"
    (tmp_path / name).parent.mkdir(parents=True)
    shutil.copy(salt.utils.templates.__file__, tmp_path / name)
    start = f"--- a/{name}\n"
    part = start + patch.partition(start)[2].partition("\ndiff ")[0] + "\n"
    command = ["patch", "--strip=1", "--fuzz=0", "--batch"]
    subprocess.run(command, cwd=tmp_path, input=part, text=True, check=True, capture_output=True)
    spec = importlib.util.spec_from_file_location("patched_templates", tmp_path / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    compiling = jinja2.Environment.compile
    runs = []

    def compile_and_count(self, source, name=None, *args, **kwargs):
        if name:
            runs[-1].compiled[name] += 1
        return compiling(self, source, name, *args, **kwargs)

    monkeypatch.setattr(jinja2.Environment, "compile", compile_and_count)

    def begin(**keeping):
        folder = pathlib.Path(tmp_path, "tree")
        folder.mkdir(exist_ok=True)
        (folder / "map.jinja").write_text("{% set port = 'a' | upper %}")
        runs.append(Run(module.render_jinja_tmpl, folder, **keeping))
        return runs[-1]

    return begin


SLS = "{% from 'map.jinja' import port with context %}{{ port }}"


def test_a_run_compiles_once_what_many_import(run):
    this = run()
    assert [this.render(SLS), this.render(SLS + "!"), this.render(SLS)] == ["A", "A!", "A"]
    assert this.compiled == {"map.jinja": 1}
    # Filters of constants are computed then: another run is to compute them itself.
    other = run()
    assert (other.render(SLS), other.compiled) == ("A", {"map.jinja": 1})


def test_what_changed_meanwhile_or_is_read_in_another_way_is_compiled_anew(run):
    this = run()
    assert this.render(SLS) == "A"
    macro = "{% macro at() %}{% if true %}\n80{% endif %}{% endmacro %}"
    (this.folder / "map.jinja").write_text("{% set port = 'b' | upper %}" + macro)
    assert this.render(SLS) == "B"
    at = "{% from 'map.jinja' import at with context %}[{{ at() }}]"
    assert this.render(at, jinja_sls_env={"trim_blocks": True}) == "[80]"
    assert this.render(at) == "[\n80]"
    assert this.compiled == {"map.jinja": 3}


def test_who_keeps_nothing_compiles_each_time(run):
    this = run(keeping=False)
    assert [this.render(SLS), this.render(SLS)] == ["A", "A"]
    assert this.compiled == {"map.jinja": 2}
