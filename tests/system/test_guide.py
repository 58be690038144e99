"""What docs/operating.md tells an operator to type, typed."""

import pytest

from tests.support import guide
from tests.support.loading import ROOT
from tests.system.test_failures import primary

GUIDE = "docs/operating.md"
# Where the commands of a section are typed: on the master unless it names another node.
HERE = {
    "How is it?": None,
    "Rolling out": None,
    "Back": None,
    "The canary": None,
    "A rollout that failed": None,
    "A release that was changed": None,
    "A rollout that died": None,
    "The lock": None,
    "Nodes that enter and leave": None,
    "A daemon that died": None,
    "A minion does not answer": None,
    "A key that is left out": None,
    "A wrong clock": None,
    "A counter that has to go": None,
    "Another version of MongoDB": None,
    "A web server": "web-1",
    # Before the primary steps down: what is resynced is a secondary of now.
    "A member that cannot catch up": None,
    "A database node": None,
    "A storage node": None,
    "Gluster's TLS": "web-2",
    "A balancer": "lb-1",
    "HTTPS": None,
}
# The tests that type the others, or that do what they do.
ELSEWHERE = {
    "A storage node that lost its disk": "tests/system/test_storage_faults.py",
    "A lost node": "tests/system/test_anew.py",
    "A master that is a new machine": "tests/system/test_anew.py",
    "Switching it on or off": "tests/system/test_storage_tls.py",
    "Rotate a secret": "tests/system/test_rotate.py",
    "Back up and restore": "tests/system/test_backup.py",
    "Counters were lost": "tests/system/test_backup.py",
    "The replica set was lost": "tests/system/test_lost.py",
    "The volume was lost": "tests/system/test_lost.py",
    "A second place for backups": "tests/system/test_backup.py",
    "All machines were lost": "tests/system/test_lost.py",
    "Masterless": "tests/functional/lab/test_masterless.py",
    "A counter on one machine": "tests/functional/lab/test_masterless.py",
}
RESYNC = "salt --timeout=3600 db-2 mongodb.resync"
WHAT = "confirm=192.168.33.15:27017/var/lib/mongodb"
LEFT = {
    "salt db-2 mongodb.resync": "it is refused, which is what it is typed for: "
    "tests/functional/mongodb/test_resync.py",
    f"{RESYNC} member=192.168.33.15:27017 address=192.168.33.14:27017 {WHAT}": "wants a mongod "
    "that does not run: tests/functional/mongodb/test_resync.py",
    "salt db-1 mongodb.move_member OLD_ADDRESS:27017 192.168.33.15:27017": "wants a member that "
    "has moved: tests/functional/mongodb/test_members.py",
    "salt-run rollout.unlock confirm=root@master": "wants a rollout that hangs: "
    "tests/integration/test_rollout.py",
    "salt-run rollout.promote": "wants a canary that cannot be judged: "
    "tests/unit/fleet/test_canary.py",
    "salt-run rollout.rollback": "tests/system/test_undo.py",
    "salt-run rollout.plan release=1.4.0": "each rollout's preflight makes this plan; "
    "tests/integration/test_rollout.py",
    "salt-run state.orchestrate orch.rollout": "tests/system/test_rollout.py",
    'salt-run state.orchestrate orch.rollout pillar=\'{"release": "1.4.0"}\'': "test_change.py",
    'salt-run state.orchestrate orch.rollout pillar=\'{"leaving": ["web-2"]}\'': "its steps are "
    "tried in tests/unit/fleet/test_leaving.py, and what they ask for where it is done",
    **dict.fromkeys(
        (f"salt-run secret.rotate {name}" for name in ("gluster_tls", "gluster_tls_authority")),
        "a minute and more each, with all secrets: make drill, tests/system/test_rotate.py",
    ),
    "salt-run storage.switch_tls restart=True": "the steps are "
    "those of the switch, which test_storage_tls.py makes three times",
    "/srv/counterapp/bootstrap/make-secrets /etc/salt/counterapp/pillar/secrets": "each "
    "provisioning of the master runs it, and tests/unit/bootstrap",
    **dict.fromkeys(
        (f"salt web-1 cmd.run 'chronyc {word}'" for word in ("sources", "makestep")),
        "a container has its host's clock, and no chrony: tests/unit/sls/test_states.py",
    ),
    **dict.fromkeys(guide.section(GUIDE, "Bare metal"), "Vagrant provisions each node with these"),
}
COMMANDS = [command for command in guide.commands(GUIDE) if command.fenced]


@pytest.fixture(scope="module")
def words(cluster):
    """What an operator puts in place of the guide's own words."""
    script = "/srv/counterapp/bootstrap/bootstrap.sh fingerprint"
    cluster.hit("post-1").raise_for_status()
    lead = primary(cluster)
    follows = next(node for node in ("db-1", "db-2", "db-3") if node != lead)
    known_as = cluster.salt(follows, "mongodb.hello")[follows]["me"]
    return {
        f"{RESYNC} {WHAT}": f"{RESYNC} confirm={known_as}/var/lib/mongodb".replace("db-2", follows),
        "FINGERPRINT_OF_THE_NODE": cluster.typed(f"{script} minion", "web-1").text,
        "FINGERPRINT_OF_THE_MASTER": cluster.typed(f"{script} master").text,
        "salt db-1 mongodb.step_down": f"salt {lead} mongodb.step_down",
        "counters/blog/": f"counters/{cluster.namespace}/",
    }


@pytest.mark.parametrize("title", HERE)
def test_the_commands_of_a_section_work_as_they_stand(cluster, words, title):
    for command in COMMANDS:
        if command.headings[-1] != title or command.text in LEFT:
            continue
        line = command.text
        for said, meant in words.items():
            line = line.replace(said, meant)
        # Fingerprints are told on the node that they are about; Salt is asked on the master.
        node = "web-1" if "trust-master" in line else HERE[title]
        done = cluster.typed(line, None if line.startswith("salt") else node)
        assert done.code == 0, f"{line}\n{done.text}"
        assert "Minion did not return" not in done.text


def test_typing_them_has_left_all_well(cluster):
    cluster.until_whole()


def test_no_command_is_typed_by_nobody():
    for command in COMMANDS:
        title = command.headings[-1]
        if command.text in LEFT or title in HERE:
            continue
        assert title in ELSEWHERE, f"{GUIDE}:{command.line}: {command.text}"
        assert f'"{title}"' in (ROOT / ELSEWHERE[title]).read_text(), (title, ELSEWHERE[title])
