"""From bare nodes to a service, and again without a change."""

from lab import edge
from tests.system.conftest import KEEP

UNITS = {"web": "counterapp", "db": "mongod", "lb": "haproxy", "storage": "glusterd"}


def started(cluster):
    """When each service of each node was started, and as which process."""
    return {
        (node, unit): cluster.on(
            node, "systemctl", "show", unit, "--property=ActiveEnterTimestamp,MainPID"
        )
        for role, unit in UNITS.items()
        for node in cluster.with_role(role)
    }


def test_a_bare_fleet_serves_though_the_first_tries_were_killed(first_rollout):
    assert [each.code for each in first_rollout.killed] == ([] if KEEP else [-9, -9])
    assert first_rollout.run.code == 0
    assert f"{first_rollout.cluster.url}/\n" in first_rollout.run.text
    assert edge.authority(first_rollout.cluster.lab).name in first_rollout.run.text


def test_the_operator_is_never_left_without_a_line_for_20_seconds(first_rollout):
    assert first_rollout.run.longest_silence < 20


def test_the_summary_names_every_node_with_its_role_and_address(first_rollout):
    for node in first_rollout.cluster.lab.nodes:
        assert any(
            line.startswith(node.id) and node.address in line and ",".join(node.roles) in line
            for _second, line in first_rollout.run.lines
        )


def test_minions_are_targeted_by_the_grain_of_their_role(cluster):
    for role in ("web", "db", "lb", "storage", "master"):
        found = cluster.salt(f"roles:{role}", "test.ping", kind="grain")
        assert found == dict.fromkeys(cluster.with_role(role), True)


def test_a_second_highstate_changes_nothing_on_any_node(cluster):
    answers = cluster.salt("*", "state.highstate")
    assert set(answers) == {node.id for node in cluster.lab.nodes}
    for node, states in answers.items():
        assert isinstance(states, dict), f"{node}: {states}"
        assert [s["comment"] for s in states.values() if s["result"] is not True] == []
        assert [s["__id__"] for s in states.values() if s["changes"]] == [], node


def test_a_second_make_up_changes_nothing_and_drops_nothing(cluster):
    before = started(cluster)
    with cluster.traffic("second-up") as traffic:
        run = cluster.tool("up")
    assert run.code == 0, run.text
    assert traffic.failures == []
    assert sorted(traffic.values) == list(range(1, len(traffic.values) + 1))
    assert started(cluster) == before
    (last,) = cluster.runner("rollout.history", "limit=1")
    assert (last["outcome"], last["changes"]) == ("succeeded", {})
