"""The benchmarks of what Salt takes run. How fast anything is, is not for tests to say."""

from bench import converge, rollout


def test_a_rollout_with_nothing_to_do_is_measured_beside_a_dry_run(cluster):
    bench = rollout.Bench(cluster.lab)
    # What an earlier test has left to do is done by this one.
    cluster.rollout()
    share = bench.idle()
    assert share.took > 0
    assert share.by_hand > 0


def test_finding_nothing_to_do_is_measured_beside_asking_at_all(cluster):
    cluster.rollout()
    bench = converge.Bench(cluster.lab)
    taken = bench.round()
    assert {each.name for each in taken} == {converge.PING, converge.TRUE, *converge.WANTED}
    assert all(each.seconds > 0 and each.processor > 0 for each in taken)
    assert set(bench.memory()) == {node.id for node in cluster.lab.nodes}
