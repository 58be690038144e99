"""The benchmark of rollouts runs. How fast anything is, is not for tests to say."""

from bench import rollout


def test_a_rollout_with_nothing_to_do_is_measured_beside_a_dry_run(cluster):
    bench = rollout.Bench(cluster.lab)
    # What an earlier test has left to do is done by this one.
    cluster.rollout()
    share = bench.idle()
    assert share.took > 0
    assert share.by_hand > 0
