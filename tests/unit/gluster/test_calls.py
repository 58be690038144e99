"""How often a state asks glusterd: each command is a process, and some take the pool's lock."""

import pytest
import salt.utils.path

from tests.support.loading import minion_loader

#: What glusterd puts to all members of the pool, one command at a time.
LOCKING = ("volume status", "volume get", "volume set", "volume start", "volume heal")
INFO, STATUS = "volume info shared", "volume status shared"
BRICKS = [f"db-{number}:/srv/gluster/shared/brick" for number in (1, 2, 3)]


class Gluster:
    """Takes the place of ``cmd.run_all``, by which alone our modules run ``gluster``."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def __call__(self, argv, **_how):
        words = " ".join(argv[3:])
        self.asked.append(words)
        return self.answers[words]

    @property
    def locking(self):
        return [words for words in self.asked if words.startswith(LOCKING)]


@pytest.fixture
def gluster(answer):
    return Gluster(
        {
            "volume list": answer("volume_list"),
            INFO: answer("info"),
            STATUS: answer("status"),
            f"{STATUS} detail": answer("status_detail"),
            "volume get all all": answer("get_pool"),
        }
    )


@pytest.fixture
def present(gluster, tmp_path, monkeypatch):
    """Return the state as a minion has it, for a volume of which an option is said."""
    monkeypatch.setattr(salt.utils.path, "which", lambda command: f"/usr/sbin/{command}")

    def apply(test=False, **options):
        loaders = minion_loader(tmp_path, test=test, grains={"id": "db-1"})
        loaders.modules["cmd.run_all"] = gluster
        return loaders.states["gluster.volume_present"](
            "shared", bricks=BRICKS, replica=3, options=options, reset_strays=True
        )

    return apply


@pytest.mark.parametrize("test", [False, True])
def test_a_volume_as_declared_takes_the_lock_once(present, gluster, test):
    ret = present(test=test, **{"network.ping-timeout": 10})
    assert (ret["result"], ret["changes"]) == (True, {}), ret
    assert gluster.locking == [STATUS]
    assert len(gluster.asked) <= 5, gluster.asked


def test_what_may_be_one_of_the_pools_options_has_the_pool_asked(present, gluster, answer):
    gluster.answers[INFO] = answer("info_opts")
    ret = present(test=True, **{"network.ping-timeout": 12})
    assert ret["changes"] == {"strays": {"cluster.quorum-type": {"old": "auto", "new": None}}}
    assert gluster.locking == ["volume get all all", STATUS]


def test_a_brick_that_is_offline_is_seen_all_the_same(present, gluster, answer):
    gluster.answers[STATUS] = answer("status_down")
    ret = present(test=True, **{"network.ping-timeout": 10})
    assert ret["result"] is None
    assert list(ret["changes"]) == ["bricks"]
