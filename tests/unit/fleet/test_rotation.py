"""
Rotations on a simulated fleet: their steps, what goes wrong at each, and that nobody is refused.

The simulation checks at every moment that each web server's login is good, that members of the set
have a key in common, and that states that somebody applies would change nothing.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fleet.lock
from fleet import revision as revisions
from fleet import rotation, secret_files, token, unfinished
from fleet.errors import FleetError
from fleet.rotation import KINDS
from tests.support.examples import examples
from tests.support.simulated import Died, Fault
from tests.support.simulated_secrets import SecretSimulation

NAMES = [*KINDS]
USERS = ["mongodb_admin", "mongodb_health", "mongodb_backup", "mongodb_app"]


@pytest.fixture(autouse=True)
def _quiet():
    """Keep nothing of what Salt logs for debugging: that would take most of the time."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@contextlib.contextmanager
def simulated(seed=0, topology="default"):
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield SecretSimulation(Path(folder), seed, topology)


@pytest.fixture
def simulation():
    with simulated() as found:
        yield found


def text_of(simulation):
    """Return all that the master has written of what it did, and told anybody."""
    paths = [path for path in simulation.master.state.rglob("*") if path.is_file()]
    return "".join(path.read_text() for path in paths) + json.dumps(simulation.told)


# Without a fault


@pytest.mark.parametrize("topology", ["default", "classic"])
@pytest.mark.parametrize("name", NAMES)
def test_another_takes_its_place_and_a_second_one_again(name, topology):
    with simulated(topology=topology) as simulation:
        values = [simulation.secret(name)]
        for _ in range(2):
            done = simulation.rotate(name)
            assert done["goes_on"] is False
            assert simulation.problems() == []
            values.append(simulation.secret(name))
            [entry, *_] = simulation.history()
            assert (entry["kind"], entry["secret"]) == ("rotation", name)
            assert (entry["outcome"], entry["id"]) == ("succeeded", done["change"])
        assert len(set(values)) == 3
        assert not [value for value in values if value in text_of(simulation)]


def test_the_others_stay_as_they_are(simulation):
    before = {name: simulation.secret(name) for name in NAMES}
    simulation.rotate("mongodb_app")
    assert [name for name in NAMES if simulation.secret(name) != before[name]] == ["mongodb_app"]


@pytest.mark.parametrize("name", USERS)
def test_two_users_take_turns(simulation, name):
    key = f"{name.removeprefix('mongodb_')}_user"
    member = simulation.fleet.with_role("db")[0]
    names = [simulation.fleet.pillar(member)["mongodb"][key]]
    for _ in range(2):
        simulation.rotate(name)
        names.append(simulation.fleet.pillar(member)["mongodb"][key])
    assert names == [names[0], f"{names[0]}-b", names[0]]


def test_web_servers_go_over_one_by_one_before_the_old_user_goes(simulation):
    simulation.rotate("mongodb_app")
    touched = simulation.fleet.touched
    [made] = [at for at, word in enumerate(touched) if word == "user counterapp-b made"]
    [gone] = [at for at, word in enumerate(touched) if word == "user counterapp removed"]
    webs = [at for at, word in enumerate(touched) if word.endswith(": web.config")]
    assert len(webs) == len(simulation.fleet.with_role("web"))
    assert made < min(webs) <= max(webs) < gone


def test_each_member_is_restarted_twice_with_the_primary_last(simulation):
    primary = simulation.fleet.primary().id
    simulation.rotate("mongodb_keyfile")
    restarted = [
        word.removesuffix(": db.config")
        for word in simulation.fleet.touched
        if word.endswith(": db.config")
    ]
    members = sorted(node.id for node in simulation.fleet.with_role("db"))
    assert sorted(restarted[:3]) == sorted(restarted[3:]) == members
    assert restarted[2] == primary
    assert len([word for word in simulation.fleet.touched if word.endswith("stepped down")]) == 2


def test_a_token_is_good_everywhere_when_it_is_made(simulation):
    kept = []

    def look(event):
        # Whatever is done next, a token is made before it.
        if event["event"] == "begins":
            with contextlib.suppress(FileNotFoundError):
                key = secret_files.value(simulation.master, "counterapp_operator")
                kept.append(all(key in each for each in simulation.fleet.signers.values()))

    with simulation.patched(), simulation.living():
        rotation.rotate(
            simulation.master, simulation.fleet, "counterapp_operator", listeners=(look,)
        )
    assert len(kept) > 10
    assert all(kept)


def test_a_test_says_the_steps_and_does_nothing(simulation):
    before = simulation.secret("mongodb_app")
    with simulation.patched():
        told = rotation.rotate(simulation.master, simulation.fleet, "mongodb_app", test=True)
    assert told["did"] == "nothing: this is a test"
    assert told["steps"][0] == "make a second user, who has the new password"
    assert len(told["steps"]) == 5
    assert simulation.fleet.asked == []
    assert simulation.secret("mongodb_app") == before
    assert simulation.history() == []


# What is refused


def refused(simulation, name, words):
    before = {each: simulation.secret(each) for each in NAMES}
    with pytest.raises(FleetError, match=words):
        simulation.rotate(name)
    assert {each: simulation.secret(each) for each in NAMES} == before
    assert unfinished.noted(simulation.master, unfinished.ROTATION) is None
    assert simulation.fleet.touched == []


@pytest.mark.parametrize(
    ("name", "nearest"), [("mongodb_ap", "mongodb_app"), ("counterap_operator", "counterapp_oper")]
)
def test_a_name_that_nobody_knows_is_refused_with_the_nearest_one(simulation, name, nearest):
    refused(simulation, name, f"there is no secret that can be rotated '{name}': is {nearest}")


def test_before_the_first_rollout_there_is_nothing_to_rotate(simulation):
    (simulation.master.state / "base").unlink()
    refused(simulation, "mongodb_app", "roll out first")


def test_a_revision_that_knows_of_no_rotation_is_refused(simulation):
    path = simulation.master.state / "base/pillar/top.sls"
    path.chmod(0o600)
    path.write_text("secrets.mongodb_app")
    refused(simulation, "mongodb_app", "knows of no rotation: roll out")


def test_a_secret_that_was_not_made_yet_is_refused_with_the_remedy(simulation):
    (simulation.fleet.secrets / "mongodb_app.sls").rename(simulation.folder / "away")
    with pytest.raises(FleetError, match="make-secrets"), simulation.patched():
        secret_files.value(simulation.master, "mongodb_app")


def test_a_switch_of_tls_comes_first(simulation):
    unfinished.note(simulation.master, unfinished.TLS, tls=True)
    refused(simulation, "mongodb_app", "salt-run storage.switch_tls")


def test_a_rollout_that_died_comes_first(simulation):
    with simulation.patched():
        revisions.move(simulation.master, ["web-1"], "20261128-070000-abcd")
    refused(simulation, "mongodb_app", "web-1: between two revisions since the change 2026")


@pytest.mark.parametrize(
    ("name", "node"),
    [("mongodb_app", "web-2"), ("mongodb_keyfile", "db-3"), ("mongodb_app", "lb-1")],
)
def test_a_silent_node_is_named_before_anything_is_done(simulation, name, node):
    simulation.fleet.nodes[node].answers = False
    refused(simulation, name, f"{node}: the minion does not answer")


def test_a_set_that_is_not_healthy_is_refused(simulation):
    for name in ("db-2", "db-3"):
        simulation.fleet.nodes[name].mongod = "DOWN"
    refused(simulation, "mongodb_keyfile", "the replica set is not healthy")


def test_a_node_that_it_does_not_need_may_be_silent(simulation):
    simulation.fleet.nodes["web-1"].answers = False
    simulation.rotate("mongodb_health")


# What goes wrong


def goes_on(simulation, name, old, pause=5.0):
    """Have time pass, and give it again."""
    simulation.fleet.fault = None
    simulation.clock.advance(pause)
    for node in simulation.fleet.nodes.values():
        node.answers = True
    simulation.rotate(name)
    assert simulation.problems() == []
    assert simulation.secret(name) != old
    assert unfinished.problems(simulation.master) == []


@functools.cache
def extent(name):
    """Return how many questions a rotation asks, and how often it writes."""
    with simulated() as simulation:
        simulation.rotate(name)
        return len(simulation.fleet.asked), len(simulation.written)


@st.composite
def faults(draw):
    """Return the name of a secret, and what goes wrong while it is rotated."""
    name = draw(st.sampled_from(NAMES))
    asked, written = extent(name)
    kind = draw(st.sampled_from(["dies", "dies", "fails", "silent", "write"]))
    if kind == "write":
        when = draw(st.sampled_from(["before", "after"]))
        return name, Fault("dies", None, when, write=draw(st.integers(0, written - 1)))
    when = draw(st.sampled_from(["before", "after", *(["during"] if kind == "dies" else [])]))
    return name, Fault(kind, draw(st.integers(0, asked - 1)), when, draw(st.integers(0, 2)))


@given(
    seed=st.integers(0, 10**6),
    case=faults(),
    pause=st.sampled_from([0.0, 5.0, 400.0]),
    topology=st.sampled_from(["default", "default", "classic"]),
)
@examples(60)
def test_whatever_happens_nobody_is_refused_and_it_goes_on(seed, case, pause, topology):
    name, fault = case
    with simulated(seed, topology) as simulation:
        old = simulation.secret(name)
        simulation.fleet.fault = dataclasses.replace(fault)
        told = ""
        try:
            simulation.rotate(name)
        except Died:
            pass
        except FleetError as error:
            told = str(error)
            assert simulation.history()[0]["outcome"] == "failed"
        noted = unfinished.noted(simulation.master, unfinished.ROTATION)
        if told:
            words = f"run `salt-run secret.rotate {name}`"
            assert (words in told) == (noted is not None)
        assert simulation.fleet.broken == []
        if noted is None and simulation.secret(name) != old:
            # It was through, and died with its last word.
            old = None
        goes_on(simulation, name, old, pause)


def test_while_one_is_not_through_no_other_change_begins(simulation):
    simulation.fleet.fault = Fault("fails", 25)
    with pytest.raises(FleetError, match="the rotation of mongodb_app has not come to its end"):
        simulation.rotate("mongodb_app")
    simulation.fleet.fault = None
    with pytest.raises(FleetError, match=r"secret.rotate mongodb_app`"):
        simulation.rotate("mongodb_keyfile")
    assert not simulation.rollout(release="2.0")
    assert "the rotation of mongodb_app has not come to its end" in str(simulation.answers)
    with simulation.patched():
        told = rotation.rotate(simulation.master, simulation.fleet, "mongodb_app", test=True)
        listed = rotation.table(simulation.master)
    assert told["goes_on"] is True
    assert len(told["steps"]) < 5
    assert [each for each, facts in listed.items() if facts["unfinished"]] == ["mongodb_app"]
    goes_on(simulation, "mongodb_app", None)


def test_another_change_that_runs_is_waited_for(simulation):
    with simulation.patched():
        fleet.lock.take(simulation.master.state, "20261128-070000-abcd", "rollout")
    with pytest.raises(FleetError, match="has run since"):
        simulation.rotate("mongodb_app")


def test_an_old_one_that_is_still_let_in_is_told(simulation, monkeypatch):
    monkeypatch.setattr(simulation.fleet, "do_mongodb_user_login", lambda *_: True)
    with pytest.raises(FleetError, match="still lets in counterapp of counterapp"):
        simulation.rotate("mongodb_app")
    monkeypatch.undo()
    goes_on(simulation, "mongodb_app", None)


# How old they are


def test_the_table_says_who_has_what_and_since_when(simulation):
    with simulation.patched():
        before = rotation.table(simulation.master)
    done = simulation.rotate("mongodb_keyfile")
    with simulation.patched():
        after = rotation.table(simulation.master)
    assert [*before] == NAMES
    assert before["mongodb_keyfile"]["rotated"] is None
    assert after["mongodb_keyfile"]["rotated"] == done["change"]
    assert after["mongodb_keyfile"]["nodes"] == ["db-1", "db-2", "db-3"]
    assert after["mongodb_keyfile"]["days"] == 0
    assert after["mongodb_app"] == before["mongodb_app"]
    (simulation.fleet.secrets / "counterapp_operator.sls").unlink()
    with simulation.patched():
        assert rotation.table(simulation.master)["counterapp_operator"]["since"] is None


def test_a_token_is_signed_with_the_new_key(simulation):
    simulation.rotate("counterapp_operator")
    with simulation.patched():
        made = token.make(simulation.master)
    header = Path(made["path"]).read_text()
    assert (
        simulation._answered(simulation.fleet.with_role("web")[0].address, 8000, header.split()[-1])
        == 200
    )
