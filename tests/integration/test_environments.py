"""Nodes get what was rolled out, whole and at once, and nothing of what is edited meanwhile."""

import pytest

from fleet import revision as revisions
from tests.support.waiting import until

MODULE = '''"""A module that says of which revision it is."""


def mark():
    return "{}"
'''
NODES = ["alpha", "beta"]


@pytest.fixture(autouse=True)
def _clean(clean):
    return clean


class Marked:
    """A fleet in whose checkout a mark is written, and what nodes make of it."""

    def __init__(self, fleet, salt_cli):
        self.fleet = fleet
        self.cli = salt_cli

    def edit(self, mark):
        """Have states, files, modules and pillar of the checkout say a mark; all are as long."""
        tree = self.fleet.tree
        (tree / "base/mark.sls").write_text(f"The mark is {mark}:\n  test.nop\n")
        (tree / "base/files/mark").write_text(mark)
        (tree / "base/init.sls").write_text("include: [base.hosts, base.mark]\n")
        (self.fleet.checkout / "_modules/marked.py").write_text(MODULE.format(mark))
        rollout = self.fleet.checkout / "pillar/rollout.sls"
        kept = rollout.read_text().partition("mark:")[0]
        rollout.write_text(f"{kept}mark: {mark}\n")

    def settle(self, mark):
        self.edit(mark)
        return self.fleet.settle()

    def offer(self, mark):
        self.edit(mark)
        revision = self.fleet.capture()
        revisions.offer(revision)
        return revision

    def load(self, node, environment="base"):
        """Have a node load the modules of an environment, as whoever changes the fleet does."""
        done = self.cli("saltutil.sync_all", f"saltenv={environment}", minion_tgt=node)
        assert done.returncode == 0, done

    def served(self, node, environment="base"):
        """Return the marks of what a node is given: a file, and the states and pillar."""
        self.load(node, environment)
        asked = [f"saltenv={environment}", f"pillarenv={environment}"]
        states = self.cli("state.show_sls", "base", *asked, minion_tgt=node).data
        return [
            self.cli("cp.get_file_str", "salt://base/files/mark", asked[0], minion_tgt=node).data,
            *(id_.removeprefix("The mark is ") for id_ in states if id_.startswith("The mark")),
            self.pillar(node, asked[1]),
        ]

    def pillar(self, node, *arguments):
        """Return the mark of a node's pillar, as the master compiles it now; "" for none."""
        compiled = self.cli("pillar.items", "unmask=True", *arguments, minion_tgt=node)
        return compiled.data.get("mark", "")

    def applied(self, node, *arguments):
        """Apply the highstate, and return the mark that it had; None where it had none."""
        self.load(node, "candidate" if "saltenv=candidate" in arguments else "base")
        done = self.cli("state.apply", "queue=True", *arguments, minion_tgt=node)
        assert done.returncode == 0, done
        ids = [state["__id__"] for state in done.data.values()]
        marks = [id_.removeprefix("The mark is ") for id_ in ids if id_.startswith("The mark")]
        return marks[0] if marks else None

    def module(self, node):
        return self.cli("marked.mark", minion_tgt=node).data


@pytest.fixture
def marked(fleet, salt_cli):
    yield Marked(fleet, salt_cli)
    fleet.reset()
    for node in NODES:
        salt_cli("saltutil.sync_all", minion_tgt=node)


def test_what_is_edited_reaches_no_node_before_it_is_rolled_out(marked, fleet):
    marked.edit("one")
    assert marked.applied("alpha") is None
    assert marked.pillar("alpha") == ""
    assert "is not available" in marked.module("alpha")
    fleet.settle()
    assert marked.applied("alpha") == "one"
    assert marked.pillar("alpha") == "one"
    until(lambda: marked.module("alpha"), 60, "the minion has loaded it", wanted="one")


def test_another_base_is_seen_at_once_and_so_is_the_way_back(marked):
    first = marked.settle("one")
    assert marked.served("alpha") == ["one"] * 3
    # Of the same names and sizes, which is what a file server's caches go by.
    second = marked.settle("two")
    assert marked.served("alpha") == ["two"] * 3
    revisions.settle(first)
    assert marked.served("alpha") == ["one"] * 3
    revisions.settle(second)
    assert marked.served("alpha") == ["two"] * 3


def test_a_candidate_is_given_to_who_asks_for_it_and_is_gone_when_it_is_withdrawn(marked, fleet):
    marked.settle("one")
    marked.offer("two")
    assert marked.served("alpha", "candidate") == ["two"] * 3
    assert marked.served("alpha") == ["one"] * 3
    assert marked.applied("alpha") == "one"
    revisions.withdraw(fleet.master)
    done = marked.cli("state.apply", "saltenv=candidate", "pillarenv=candidate", minion_tgt="alpha")
    assert done.returncode != 0


def test_states_are_not_applied_with_the_modules_of_another_environment(marked):
    marked.settle("one")
    assert marked.applied("beta") == "one"
    marked.offer("two")
    for mark, environment in (("two", "candidate"), ("one", "base")):
        asked = [f"saltenv={environment}", f"pillarenv={environment}"]
        refused = marked.cli("state.apply", "queue=True", *asked, minion_tgt="beta")
        assert refused.returncode != 0
        assert "the modules here were of another revision, and are synced now" in str(refused.data)
        done = marked.cli("state.apply", "queue=True", *asked, minion_tgt="beta")
        assert done.returncode == 0, done
        assert f"The mark is {mark}" in [each["__id__"] for each in done.data.values()]
        # Its own process hears of it a moment later.
        until(lambda: marked.module("beta"), 60, "the minion has loaded them", wanted=mark)


def test_a_node_on_its_way_refuses_to_converge_by_itself(marked, fleet):
    marked.settle("one")
    marked.offer("two")
    revisions.move(fleet.master, ["beta"], "C-1")
    refused = "the change C-1 moves 'beta' to another revision"
    done = marked.cli("state.apply", "queue=True", minion_tgt="beta")
    assert done.returncode != 0
    assert refused in str(done.data)
    done = marked.cli("state.apply", "base", minion_tgt="beta")
    assert done.returncode != 0
    assert refused in " ".join(done.data)
    # The change itself says where it takes the node; others are not concerned.
    assert marked.applied("beta", "saltenv=candidate", "pillarenv=candidate") == "two"
    assert marked.applied("beta", "saltenv=base", "pillarenv=base") == "one"
    assert marked.applied("alpha") == "one"
    revisions.settle(revisions.candidate(fleet.master))
    assert marked.applied("beta") == "two"
    assert marked.applied("alpha") == "two"


def test_before_the_first_rollout_there_is_nothing_to_apply(marked, fleet):
    fleet.bare()
    # What an earlier test has asked for may still be under way on a busy machine.
    done = marked.cli("state.apply", "queue=True", minion_tgt="beta")
    assert done.returncode != 0
    # A master that has served a pillar before knows its top file yet, and nothing that it names.
    said = str(done.data)
    assert "No Top file" in said or "Pillar failed to render" in said
    assert "mark" not in marked.cli("pillar.items", minion_tgt="beta").data


def test_orchestrations_are_read_in_the_checkout_and_no_node_is_given_another(salt_run, fleet):
    def served(environment):
        return set(salt_run("fileserver.file_list", f"saltenv={environment}").data)

    fleet.settle()
    (fleet.tree / "orch/new.sls").write_text("{}\n")
    assert "orch/new.sls" in served("base")
    revisions.offer(fleet.capture())
    candidate = served("candidate")
    assert "top.sls" in candidate
    assert not [path for path in candidate if path.startswith(("orch", "_runners"))]
