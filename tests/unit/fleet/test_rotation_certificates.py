"""
Rotations of Gluster's certificates and of their authority, on a simulated fleet.

The simulation checks at every moment that each node would be let in by each storage node and would
believe it, and that no two storage nodes lack what others have.
"""

import logging

import pytest

from fleet import rotation, secret_files, unfinished
from fleet.errors import FleetError
from fleet.rotation import gluster
from fleet.rotation.course import maker
from tests.support.simulated import Died, Fault
from tests.support.simulated_secrets import SecretSimulation

CERTIFICATES, AUTHORITY = gluster.CERTIFICATES, gluster.AUTHORITY
BOTH = [CERTIFICATES, AUTHORITY]
KEEPERS = ["db-1", "db-2", "db-3"]


@pytest.fixture(autouse=True)
def _quiet():
    """Keep nothing of what Salt logs for debugging: that would take most of the time."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def simulation(tmp_path):
    return SecretSimulation(tmp_path)


def held(simulation, node):
    with simulation.patched():
        return gluster.held(simulation.master, node)


# Without a fault


def test_the_authority_is_another_and_the_old_one_is_refused(simulation):
    before = held(simulation, "db-1")
    authority = (simulation.fleet.secrets / f"{AUTHORITY}.pem").read_text()
    done = simulation.rotate(AUTHORITY)
    assert done["did"] == f"{AUTHORITY} is another one, and the old one is refused"
    after = held(simulation, "db-1")
    assert not {*before.values()} & {*after.values()}
    assert (simulation.fleet.secrets / f"{AUTHORITY}.pem").read_text() != authority
    with simulation.patched():
        for node in simulation.fleet.with_role("storage"):
            ask = simulation.fleet.listener
            assert ask(node.address, 24007, before, after["ca"]) is None
            assert ask(node.address, 24007, after, after["ca"]) is not None


def test_each_storage_node_is_restarted_once_and_after_all_have_certificates(simulation):
    simulation.rotate(AUTHORITY)
    assert simulation.fleet.restarted == KEEPERS
    asked = simulation.fleet.asked
    everybody = [*simulation.fleet.nodes]
    files = [at for at, question in enumerate(asked) if question == ("state.sls", everybody)]
    # Once to trust both, and once to show what the new one has signed.
    assert len(files) == 2
    assert max(files) < asked.index(("gluster.restart", KEEPERS[:1]))


def test_certificates_are_others_of_the_same_authority_and_nothing_is_restarted(simulation):
    before = {node: held(simulation, node) for node in simulation.fleet.nodes}
    done = simulation.rotate(CERTIFICATES)
    assert f"secret.rotate {AUTHORITY}` has them refused" in done["did"]
    for node, old in before.items():
        new = held(simulation, node)
        assert new["ca"] == old["ca"]
        assert new["key"] != old["key"]
        assert simulation.fleet.tls[node] == new
    assert simulation.fleet.restarted == []


def test_make_secrets_has_nothing_to_do_afterwards(simulation):
    simulation.rotate(AUTHORITY)
    folder = simulation.fleet.secrets
    authority = maker().Authority.of(folder / f"{AUTHORITY}.pem")
    for node in simulation.fleet.nodes.values():
        path = folder / CERTIFICATES / f"{node.id}.sls"
        assert authority.why_anew(path, node.id, node.address) is None


def test_what_the_old_one_signed_for_a_node_to_come_goes(simulation):
    stray = simulation.fleet.secrets / CERTIFICATES / "web-9.sls"
    stray.write_text((simulation.fleet.secrets / CERTIFICATES / "web-1.sls").read_text())
    simulation.rotate(CERTIFICATES)
    assert stray.exists()
    simulation.rotate(AUTHORITY)
    assert not stray.exists()


def test_an_authority_whose_key_is_lost_becomes_another(simulation):
    (simulation.fleet.secrets / f"{AUTHORITY}.pem").unlink()
    simulation.rotate(AUTHORITY)
    assert simulation.problems() == []


def test_the_table_has_them(simulation):
    simulation.rotate(AUTHORITY)
    with simulation.patched():
        listed = rotation.table(simulation.master)
    for name in BOTH:
        assert listed[name]["nodes"] == [*simulation.fleet.nodes]
        assert listed[name]["since"] is not None
        assert listed[name]["days"] == 0
    with simulation.patched():
        for path in (simulation.fleet.secrets / CERTIFICATES).glob("*"):
            path.unlink()
        assert secret_files.made(simulation.master, CERTIFICATES) is None


# What is refused


def refused(simulation, name, words):
    before = dict(simulation.fleet.tls)
    with pytest.raises(FleetError, match=words):
        simulation.rotate(name)
    assert simulation.fleet.tls == before
    assert unfinished.noted(simulation.master, unfinished.ROTATION) is None
    assert simulation.fleet.touched == []


@pytest.mark.parametrize("name", BOTH)
def test_without_tls_there_is_nothing_to_rotate(simulation, name):
    simulation.settings["gluster"]["tls"] = False
    refused(simulation, name, "Gluster works without TLS here.*storage.switch_tls")


@pytest.mark.parametrize("name", BOTH)
def test_a_node_without_a_certificate_is_named(simulation, name):
    path = simulation.fleet.secrets / CERTIFICATES / "web-2.sls"
    text = path.read_text()
    path.write_text("secrets: {}\n")
    refused(simulation, name, "web-2.sls has no certificate: remove it, and run.*make-secrets")
    path.write_text(text)


def test_a_lost_authority_cannot_sign(simulation):
    (simulation.fleet.secrets / f"{AUTHORITY}.pem").unlink()
    refused(simulation, CERTIFICATES, f"is missing, which signs.*secret.rotate {AUTHORITY}`")


def test_an_authority_that_nobody_trusts_cannot_sign(simulation):
    other = maker().Authority.fresh().text()
    (simulation.fleet.secrets / f"{AUTHORITY}.pem").write_text(other)
    refused(simulation, CERTIFICATES, f"is not the authority that master trusts.*{AUTHORITY}`")


def test_a_revision_that_cannot_restart_gluster_is_refused(simulation):
    path = simulation.master.state / "base" / gluster.RESTARTS
    path.parent.chmod(0o700)
    path.unlink()
    refused(simulation, AUTHORITY, "does not know how Gluster's daemons are restarted: roll out")


@pytest.mark.parametrize("name", BOTH)
def test_a_volume_that_is_not_whole_is_refused(simulation, name):
    simulation.fleet.away.add("db-2")
    refused(simulation, name, "volume shared: brick of db-2 is offline")


@pytest.mark.parametrize("name", BOTH)
def test_a_silent_node_is_named(simulation, name):
    simulation.fleet.nodes["lb-2"].answers = False
    refused(simulation, name, "lb-2: the minion does not answer")


@pytest.mark.parametrize("name", [*rotation.OTHERS])
def test_what_no_command_rotates_says_what_does(simulation, name):
    refused(
        simulation, name, f"{name} is not rotated by a command: .*By a command are: mongodb_key"
    )


# What goes wrong


def goes_on(simulation, name, old):
    simulation.fleet.fault = None
    simulation.clock.advance(5.0)
    for node in simulation.fleet.nodes.values():
        node.answers = True
    simulation.rotate(name)
    assert simulation.problems() == []
    assert held(simulation, "db-1")["key"] != old["key"]
    assert unfinished.problems(simulation.master) == []


def last_questions(folder, name):
    """
    Return the number of the last question of each step that alters anything, with the step.

    Of the storage nodes, which all go the same way, the first one counts.
    """
    simulation = SecretSimulation(folder / "whole")
    simulation.rotate(name)
    steps = simulation.fleet.steps
    return [
        (number, step)
        for number, (step, following) in enumerate(zip(steps, [*steps[1:], ""], strict=True))
        if step != following and step and "checking" not in step and "the volume" not in step
        if simulation.fleet.asked[number][1] not in (["db-2"], ["db-3"])
    ]


@pytest.mark.parametrize(("name", "steps"), [(CERTIFICATES, 3), (AUTHORITY, 12)])
def test_one_that_dies_at_any_step_goes_on(tmp_path, name, steps):
    deaths = last_questions(tmp_path, name)
    assert len(deaths) == steps, deaths
    for number, step in deaths:
        simulation = SecretSimulation(tmp_path / str(number))
        old = held(simulation, "db-1")
        simulation.fleet.fault = Fault("dies", number, "during")
        with pytest.raises(Died):
            simulation.rotate(name)
        assert simulation.fleet.broken == [], step
        assert (simulation.master.state / "secret_rotation.json").exists(), step
        goes_on(simulation, name, old)


def test_one_that_fails_half_way_says_so_until_it_is_through(simulation):
    old = held(simulation, "db-1")
    simulation.fleet.fault = Fault("fails", 20)
    words = f"the rotation of {AUTHORITY} has not come to its end.*secret.rotate {AUTHORITY}`"
    with pytest.raises(FleetError, match=words):
        simulation.rotate(AUTHORITY)
    with pytest.raises(FleetError, match=words):
        simulation.rotate(CERTIFICATES)
    assert not simulation.rollout(release="2.0")
    goes_on(simulation, AUTHORITY, old)


def test_a_listener_that_goes_on_with_the_old_authority_is_told(simulation, monkeypatch):
    old = held(simulation, "db-1")
    listener = simulation.fleet.listener

    def stubborn(address, port, shown, ca):
        answer = listener(address, port, shown, ca)
        former = shown["ca"] == old["ca"]
        return simulation.fleet.tls["db-1"]["certificate"] if former else answer

    monkeypatch.setattr(simulation.fleet, "listener", stubborn)
    with pytest.raises(FleetError, match="db-1: what listens at .*:24007 still takes"):
        simulation.rotate(AUTHORITY)
    monkeypatch.undo()
    goes_on(simulation, AUTHORITY, old)


@pytest.mark.parametrize("name", BOTH)
def test_a_listener_that_does_not_take_the_new_ones_is_told(simulation, monkeypatch, name):
    old = held(simulation, "db-1")
    monkeypatch.setattr(simulation.fleet, "listener", lambda *_: None)
    with pytest.raises(FleetError, match="db-1: what listens at .* refuses who has a new"):
        simulation.rotate(name)
    assert simulation.fleet.restarted == []
    monkeypatch.setattr(simulation.fleet, "listener", lambda *_: old["certificate"])
    with pytest.raises(FleetError, match="db-1: what listens at .* does not show its new"):
        simulation.rotate(name)
    monkeypatch.undo()
    goes_on(simulation, name, old)


def test_no_key_is_told(simulation):
    keys = [each["key"].splitlines()[2] for each in simulation.fleet.tls.values()]
    simulation.rotate(AUTHORITY)
    keys += [each["key"].splitlines()[2] for each in simulation.fleet.tls.values()]
    state = [path for path in simulation.master.state.rglob("*") if path.is_file()]
    told = "".join(path.read_text() for path in state) + str(simulation.told)
    assert len(keys) == len({*keys}) == 2 * len(simulation.fleet.nodes)
    assert not [key for key in keys if key in told]
