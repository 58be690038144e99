"""Which revision a node goes by: what Salt's own compilers make of both top files."""

import shutil

import pytest

from fleet import files, secret_files
from fleet import revision as revisions
from fleet.master import Master
from tests.support import tree as support
from tests.support.loading import ROOT

NODE = "web-1"
ROLES = ["base", "gluster", "web"]


class Served:
    """A master's checkout, revisions and notes, and what a node gets of them."""

    def __init__(self, folder):
        self.tree = support.Tree(folder / "compiled")
        self.checkout = folder / "checkout"
        for name in revisions.FOLDERS:
            shutil.copytree(ROOT / name, self.checkout / name, symlinks=True)
        shutil.copytree(ROOT / "pillar", self.checkout / "pillar")
        shutil.copytree(self.tree.master_pillar, folder / "config/pillar")
        self.master = Master(
            {
                "counterapp_tree": str(self.checkout),
                "counterapp_pillar": [],
                "counterapp_state": str(folder / "state"),
                "counterapp_config": str(folder / "config"),
            }
        )
        self.tree.master_pillar = self.master.notes
        self.tree.environments = {
            name: self.master.state / name for name in (revisions.BASE, revisions.CANDIDATE)
        }
        # As bootstrap leaves it.
        files.write_json(self.master.notes / "moving.yaml", {})

    def settle(self, release):
        revisions.settle(revisions.capture(self.master, release))

    def offer(self, release):
        """Offer a candidate that has another release, one setting and one state more."""
        web = self.checkout / "salt/web/config.sls"
        web.write_text(web.read_text() + "\nOf the candidate:\n  test.nop\n")
        (self.checkout / "pillar/web.sls").open("a").write("  of_the_candidate: true\n")
        revisions.offer(revisions.capture(self.master, release))

    def pillar(self, node=NODE, pillarenv=None):
        compiled = self.tree.pillar("default", node, {"id": node}, pillarenv=pillarenv)
        assert "_errors" not in compiled, compiled["_errors"]
        return compiled

    def load(self, environment):
        """Have the node load the modules of an environment, as whoever changes the fleet does."""
        extmods = self.tree.folder / "extmods"
        shutil.rmtree(extmods, ignore_errors=True)
        for folder in (self.master.state / environment).glob("_*"):
            shutil.copytree(folder, extmods / folder.name[1:])

    def highstate(self, saltenv=None, pillarenv=None, node=NODE):
        """Return what a highstate is made of: the SLS by environment, IDs of states, errors."""
        grains = support.recorded_grains("debian12", "default", node)
        pillar = self.pillar(node, pillarenv)
        self.load(saltenv or "base")
        with self.tree.compiler(
            node, grains, pillar, saltenv=saltenv, pillarenv=pillarenv
        ) as compiler:
            tops = compiler.tops()
            ids, errors = [], []
            for environment, sls in tops.items():
                chunks, found = compiler.chunks(sls, environment)
                ids += [chunk["__id__"] for chunk in chunks]
                errors += found
            return tops, ids, errors

    def sls(self, name, saltenv=None, pillarenv=None):
        """Return what `state.sls` of a name is made of, which knows of no top file."""
        grains = support.recorded_grains("debian12", "default", NODE)
        environment = saltenv or "base"
        pillar = self.pillar(NODE, pillarenv)
        self.load(environment)
        with self.tree.compiler(
            NODE, grains, pillar, saltenv=environment, pillarenv=pillarenv
        ) as compiler:
            chunks, errors = compiler.chunks([name], environment)
            return [chunk["__id__"] for chunk in chunks], errors


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path)


@pytest.fixture
def offered(served):
    """A fleet on one revision, and a candidate."""
    served.settle("1.0")
    served.offer("1.1")
    return served


def test_a_bare_fleet_has_nothing_to_apply(served):
    assert served.pillar() == {}
    assert served.highstate() == ({}, [], [])


def test_a_node_that_asks_for_nothing_goes_by_the_base(offered):
    pillar = offered.pillar()
    assert (pillar["release"], pillar["moving"]) == ("1.0", None)
    assert "of_the_candidate" not in pillar["web"]
    tops, ids, errors = offered.highstate()
    assert tops == {"base": ROLES}
    assert "Of the candidate" not in ids
    assert ids
    assert errors == []


def test_what_is_edited_in_the_checkout_reaches_nobody(served):
    served.settle("1.0")
    before = served.pillar(), served.highstate()
    served.offer("1.1")
    revisions.withdraw(served.master)
    assert (served.pillar(), served.highstate()) == before


@pytest.mark.parametrize("moving", [False, True])
def test_who_asks_for_the_candidate_goes_by_it_alone(offered, moving):
    if moving:
        revisions.move(offered.master, [NODE], "C-1")
    pillar = offered.pillar(pillarenv="candidate")
    assert pillar["release"] == "1.1"
    assert pillar["web"]["of_the_candidate"] is True
    # Secrets are no part of a revision, and go along with each.
    assert set(pillar["secrets"]) == {"counterapp_operator", "gluster_tls", "mongodb_app"}
    tops, ids, errors = offered.highstate("candidate", "candidate")
    assert tops == {"candidate": ROLES}
    assert "Of the candidate" in ids
    assert errors == []
    ids, errors = offered.sls("web", "candidate", "candidate")
    assert "Of the candidate" in ids
    assert errors == []


def test_a_node_on_its_way_refuses_to_converge_by_itself(offered):
    revisions.move(offered.master, [NODE], "C-1")
    pillar = offered.pillar()
    assert (pillar["release"], pillar["moving"]) == ("1.1", "C-1")
    tops, ids, errors = offered.highstate()
    assert tops == {"candidate": ["moving"]}
    assert ids == ["A change moves this node"]
    assert errors == []
    # Others are not on their way.
    assert offered.pillar("web-2")["release"] == "1.0"
    tops, _ids, errors = offered.highstate(node="web-2")
    assert (tops, errors) == ({"base": ROLES}, [])


def test_a_node_on_its_way_refuses_single_sls_too(offered):
    revisions.move(offered.master, [NODE], "C-1")
    # `state.sls` reads no top file; its pillar would be the candidate's, its states the base's.
    for saltenv in (None, "base", "candidate"):
        ids, errors = offered.sls("web", saltenv)
        assert ids == []
        assert any(f"the change C-1 moves '{NODE}' to another revision" in e for e in errors)


def test_a_node_on_its_way_is_put_back_by_the_base_in_so_many_words(offered):
    revisions.move(offered.master, [NODE], "C-1")
    assert offered.pillar(pillarenv="base")["release"] == "1.0"
    tops, ids, errors = offered.highstate("base", "base")
    assert tops == {"base": ROLES}
    assert "Of the candidate" not in ids
    assert errors == []
    ids, errors = offered.sls("web", "base", "base")
    assert ids
    assert errors == []


def test_a_node_whose_turn_it_is_in_a_rotation_refuses_to_converge_by_itself(served):
    served.settle("1.0")
    given = {"rotating": "mongodb_app", "secrets": {"mongodb_app": "a new one"}}
    secret_files.give(served.master, NODE, given)
    for _ids, errors in (served.highstate()[1:], served.sls("web")):
        assert any("`salt-run secret.rotate mongodb_app`" in each for each in errors)
    # The rotation itself says which environment it means.
    ids, errors = served.sls("web", "base", "base")
    assert ids
    assert errors == []
    assert served.highstate(node="web-2")[2] == []
    secret_files.give(served.master, NODE, {"secrets": given["secrets"]})
    assert served.highstate()[2] == []
    assert served.pillar()["secrets"]["mongodb_app"] == "a new one"


def test_when_it_has_arrived_the_base_is_what_it_was_moved_to(offered):
    revisions.move(offered.master, [NODE], "C-1")
    revisions.settle(revisions.candidate(offered.master))
    assert (offered.pillar()["release"], offered.pillar()["moving"]) == ("1.1", None)
    tops, ids, errors = offered.highstate()
    assert tops == {"base": ROLES}
    assert "Of the candidate" in ids
    assert errors == []


def test_without_a_master_there_are_no_environments(tmp_path):
    # A checkout, as the minion's own file and pillar roots have it, which has its own moving.yaml.
    tree = support.Tree(tmp_path)
    pillar = tree.pillar("default", NODE, {"id": NODE})
    assert pillar["moving"] is None
    with tree.compiler(
        NODE, support.recorded_grains("debian12", "default", NODE), {**pillar, "release": "1.0"}
    ) as compiler:
        assert compiler.tops() == {"base": ROLES}
        chunks, errors = compiler.chunks(ROLES)
        assert chunks
        assert errors == []
