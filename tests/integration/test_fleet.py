"""Modules reach the minions, states go by grain, secrets by ID, and a lying grain gets nothing."""

import pytest


@pytest.fixture(autouse=True)
def _clean(clean):
    return clean


def test_modules_and_states_are_synced(salt_cli):
    synced = salt_cli("saltutil.sync_all", minion_tgt="*")
    assert synced.returncode == 0
    assert set(synced.data) == {"alpha", "beta"}
    known = salt_cli("sys.list_modules", minion_tgt="*").data
    states = salt_cli("sys.list_state_modules", minion_tgt="*").data
    for minion in ("alpha", "beta"):
        assert {"gluster", "mongodb", "haproxy", "counterapp"} <= set(known[minion])
        assert {"gluster", "mongodb", "haproxy", "counterapp"} <= set(states[minion])


def test_highstate_goes_by_grain(salt_cli):
    shown = {name: salt_cli("state.show_top", minion_tgt=name).data for name in ("alpha", "beta")}
    assert set(shown["alpha"]["base"]) == {"base", "gluster", "web", "lb"}
    assert set(shown["beta"]["base"]) == {"base", "gluster", "storage", "db"}


def test_each_role_can_be_targeted(salt_cli):
    assert salt_cli("-C", "test.ping", minion_tgt="G@roles:db").data == {"beta": True}
    assert salt_cli("-C", "test.ping", minion_tgt="G@roles:web").data == {"alpha": True}


def test_highstate_runs(salt_cli):
    done = salt_cli("state.apply", minion_tgt="alpha")
    assert done.returncode == 0, done
    assert all(state["result"] for state in done.data.values())


@pytest.fixture
def claim(salt_cli, fleet):
    """Have a minion claim roles that it does not have."""
    changed = []

    def claiming(minion, roles):
        changed.append(minion)
        set_ = salt_cli("grains.setval", "roles", str(roles), "destructive=True", minion_tgt=minion)
        assert set_.returncode == 0, set_
        return minion

    yield claiming
    for minion in changed:
        salt_cli("grains.setval", "roles", str(fleet.nodes[minion]["roles"]), minion_tgt=minion)


def test_secrets_do_not_follow_the_grain(salt_cli, claim):
    claim("alpha", ["db", "storage"])
    salt_cli("saltutil.refresh_pillar", "wait=True", minion_tgt="alpha")
    assert salt_cli("grains.get", "roles", minion_tgt="alpha").data == ["db", "storage"]
    keys = salt_cli("pillar.ls", minion_tgt="alpha").data
    assert "topology" in keys
    secrets = salt_cli("pillar.get", "secrets", minion_tgt="alpha").data
    # Those of a web node and of a balancer, whatever it says it is.
    assert set(secrets) == {"mongodb_app", "counterapp_operator", "https_certificate"}


def test_highstate_of_a_minion_with_other_roles_fails_and_does_nothing(salt_cli, claim):
    claim("alpha", ["db", "storage"])
    done = salt_cli("state.apply", minion_tgt="alpha")
    assert done.returncode != 0
    # A list is the answer of a highstate that did not render: not one state was run.
    assert isinstance(done.data, list)
    text = " ".join(done.data)
    assert "Minion 'alpha' has the roles grain [db, storage]" in text
    assert "gives it [lb, master, web]" in text


def test_highstate_of_a_minion_outside_the_topology_fails_and_does_nothing(salt_cli, fleet):
    fleet.write_topology({name: node for name, node in fleet.nodes.items() if name != "alpha"})
    fleet.settle()
    done = salt_cli("state.apply", minion_tgt="alpha")
    assert done.returncode != 0
    assert "Minion 'alpha' is not in the topology 'light'" in " ".join(done.data)


@pytest.fixture
def clock_of_beta(fleet, salt_cli):
    """Have the clock that beta tells differ from that of this machine by so many seconds."""
    path = fleet.checkout / "_modules/counterapp.py"
    original = path.read_text()
    assert original.count("return time.time()\n") == 1

    def telling(seconds):
        path.write_text(original.replace("return time.time()", f"return time.time() + {seconds}"))
        fleet.settle()
        synced = salt_cli("saltutil.sync_modules", minion_tgt="beta")
        assert synced.data == ["modules.counterapp"], synced

    yield telling
    path.write_text(original)
    fleet.settle()
    salt_cli("saltutil.sync_modules", minion_tgt="beta")


def test_only_a_wrong_clock_is_named(salt_run, clock_of_beta):
    def said():
        return salt_run("fleet.clocks").data.get("failed", [])

    clock_of_beta(-3660)
    [reason] = said()
    assert reason.startswith("beta: its clock is 36")
    assert "s behind the master's" in reason
    clock_of_beta(1)
    assert said() == []
