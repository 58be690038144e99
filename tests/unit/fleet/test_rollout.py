"""Where a rollout goes to and how it begins; what one leaves that died, or is refused."""

import pytest

from fleet import journal, lock, plan, preflight, revision, rollout
from fleet.change import StepFailed
from fleet.errors import FleetError
from fleet.minions import Answers
from tests.support import leavers, release_archive
from tests.support.checkout import Checkout

DEAD = "20261127-220000-abcd"


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    for release in ("1.0", "1.1", "1.2"):
        release_archive.archive(made.dist, release)
    return made


@pytest.fixture
def master(checkout):
    return checkout.master


class Silent:
    """Minions that do not answer, and what they were asked."""

    def __init__(self):
        self.asked = []

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        self.asked.append((str(function), dict(kwarg or {})))
        return Answers({}, dict.fromkeys(nodes, "the minion does not answer"))


@pytest.fixture
def begun(master, told):
    """Begin rollouts to a release; what a test leaves open is closed."""
    opened = []

    def begin(release="1.2"):
        made = rollout.begin(master, {"release": release}, Silent(), [told.append])
        opened.append(made)
        return made

    yield begin
    for each in opened:
        if each in rollout._running:
            rollout._running.remove(each)
            each.change.close()


@pytest.fixture
def died(master):
    """A rollout to 1.1 that died when it had touched a web server; returns the two revisions."""
    before, after = (revision.capture(master, release) for release in ("1.0", "1.1"))
    revision.settle(before)
    revision.offer(after)
    revision.move(master, ["two"], DEAD)
    dead = journal.Journal(master.state, DEAD)
    dead.write("begun", kind="rollout", **{"from": before.id, "to": after.id})
    # What it had put back, or what was a stage of an older version, is nobody's any more.
    dead.write("note", touched={"web": ["one", "two"], "mongodb": ["two"]})
    return before, after


class TestLeftTouched:
    def test_a_refused_rollout_leaves_it_and_serves_what_it_is_on_its_way_to(
        self, master, begun, died
    ):
        last = begun()
        assert revision.candidate(master).id == last.target.id
        with pytest.raises(StepFailed, match="one: the minion does not answer"):
            last.preflight()
        first, *more = last.undo()
        assert first.startswith("the rollout failed: preflight: checking what a rollout needs: ")
        assert more == []
        assert "touched" not in last.change.facts
        assert {function for function, _ in last.minions.asked}.isdisjoint(
            {"state.sls", "saltutil.sync_all"}
        )
        assert revision.candidate(master).id == died[1].id
        assert revision.moving(master) == {"two": DEAD}
        assert journal.history(master.state)[0]["outcome"] == "failed"
        assert lock.holder(master.state) is None

    def test_one_that_may_begin_has_it_for_its_own(self, begun, died, monkeypatch):
        monkeypatch.setattr(preflight, "examine", lambda work, _step: (plan.Plan({}), []))
        last = begun()
        last.preflight()
        assert last.change.facts["touched"] == {"web": ["two"]}

    def test_without_a_dead_change_there_is_nothing_and_no_candidate_stays(self, master, begun):
        revision.settle(revision.capture(master, "1.0"))
        last = begun()
        with pytest.raises(StepFailed):
            last.preflight()
        last.undo()
        assert revision.candidate(master) is None

    @pytest.mark.parametrize("same", [True, False])
    def test_nodes_that_have_loaded_modules_get_those_of_the_fleet_again(
        self, master, begun, monkeypatch, same
    ):
        modules = property(lambda self: "ours" if same else self.release)
        monkeypatch.setattr(revision.Revision, "modules", modules)
        revision.settle(revision.capture(master, "1.0"))
        last = begun()
        with pytest.raises(StepFailed):
            last.preflight()
        last.undo()
        synced = [kwarg for function, kwarg in last.minions.asked if "sync_all" in function]
        assert synced == ([] if same else [{"saltenv": "base"}])


class TestBegin:
    def test_a_bad_topology_is_said_in_full_and_nothing_stays(self, checkout, master, begun):
        checkout.write_topology({"boss": ("127.0.0.10", ["master"])})
        with pytest.raises(FleetError) as refused:
            begun()
        said = "; ".join(refused.value.problems)
        assert "has no web node" in said
        assert "has no db node" in said
        assert revision.candidate(master) is None
        assert lock.holder(master.state) is None

    def test_what_is_worth_a_warning_is_told_and_is_no_reason_to_refuse(
        self, begun, told, monkeypatch
    ):
        monkeypatch.setattr(preflight, "examine", lambda work, _step: (plan.Plan({}), ["data"]))
        monkeypatch.setattr(preflight, "warnings", lambda _work, reached: [(*reached, "it is old")])
        begun().preflight()
        [warning] = [each for each in told if each["event"] == "warns"]
        assert (warning["node"], warning["text"]) == ("data", "it is old")

    def test_no_stage_comes_before_the_preflight(self, begun):
        with pytest.raises(FleetError, match="has not passed its preflight"):
            begun().stage("web")

    def test_a_stage_that_there_is_not_is_answered_with_those_that_there_are(self, begun):
        last = begun()
        last.work.plan = plan.Plan({})
        with pytest.raises(FleetError, match=r"no stage 'mongodb': .*\bdb, web, lb\b"):
            last.stage("mongodb")


class TestBackTo:
    def arrived(self, master, *releases):
        """Have the fleet gone from release to release."""
        made = [revision.capture(master, release) for release in releases]
        for number, (before, after) in enumerate(zip([None, *made], made, strict=False)):
            revision.settle(after)
            journal.record(
                master.state,
                {
                    "id": f"20261127-22000{number}-abcd",
                    "outcome": "succeeded",
                    "from": before.id if before else None,
                    "to": after.id,
                },
            )
        return [each.id for each in made]

    def test_it_is_the_revision_that_the_fleet_was_on_before(self, master):
        _, before, _ = self.arrived(master, "1.0", "1.1", "1.2")
        assert rollout.back_to(master, None) == before

    def test_a_rollback_is_gone_back_from_too(self, master):
        self.arrived(master, "1.0", "1.1", "1.0")
        assert rollout.back_to(master, None) == revision.capture(master, "1.1").id

    def test_one_that_changed_nothing_or_was_undone_is_not_what_it_goes_by(self, master):
        first, last = self.arrived(master, "1.0", "1.1")
        for outcome, target in (("succeeded", last), ("undone", "r" + "0" * 12)):
            entry = {"id": DEAD, "outcome": outcome, "from": last, "to": target}
            journal.record(master.state, entry)
        assert rollout.back_to(master, None) == first

    def test_one_that_is_named(self, master):
        first, *_ = self.arrived(master, "1.0", "1.1", "1.2")
        assert rollout.back_to(master, first) == first
        with pytest.raises(FleetError, match="there is no revision 'r000000000000'"):
            rollout.back_to(master, "r000000000000")

    def test_before_the_first_rollout_there_is_none(self, master):
        with pytest.raises(FleetError, match="on no revision yet"):
            rollout.back_to(master, None)

    def test_after_the_first_rollout_there_is_none(self, master):
        self.arrived(master, "1.0")
        with pytest.raises(FleetError, match="on no other revision before"):
            rollout.back_to(master, None)

    def test_one_that_is_not_kept_is_told_with_those_that_are(self, master):
        first, last = self.arrived(master, "1.0", "1.1")
        other = revision.capture(master, "1.2").id
        revision.find(master, first).folder.rename(master.state / "gone")
        with pytest.raises(FleetError, match=rf"{first} before this one .* name one of {other}$"):
            rollout.back_to(master, None)
        assert last != other

    def test_where_one_has_died_it_is_where_that_began(self, master, died):
        entry = {"id": "20261127-210000-abcd", "outcome": "succeeded", "to": died[0].id}
        journal.record(master.state, {**entry, "from": revision.capture(master, "1.2").id})
        assert rollout.back_to(master, None) == died[0].id

    def test_the_first_that_died_has_nowhere_to_go_back_to(self, master, died):
        dead = journal.Journal(master.state, DEAD)
        dead.write("note", **{"from": None})
        with pytest.raises(FleetError, match=f"the change {DEAD}.* was the first"):
            rollout.back_to(master, None)


class TestSaid:
    def test_it_is_what_the_fleets_own_pillar_does_not_have(self, checkout, master):
        checkout.pillar("rollout", {"batch": 1, "canary": {"time": 60, "hits": 5}})
        (checkout.folder / "pillar/top.sls").write_text("base: {'*': [rollout, web]}\n")
        checkout.pillar("web", {"batch": 1})
        revision.settle(revision.capture(master, "1.0"))
        own = {"rollout": {"canary": {"hits": 5, "time": 60}, "batch": 1}, "web": {"batch": 1}}
        assert rollout.said(master, own) == {}
        assert rollout.said(master, {**own, "release": "1.1"}) == {"release": "1.1"}
        changed = {**own, "web": {"batch": 2}}
        assert rollout.said(master, changed) == {"web": {"batch": 2}}

    def test_before_the_first_rollout_all_was_said(self, master):
        assert rollout.said(master, {"release": "1.1"}) == {"release": "1.1"}


class TestLimits:
    def of(self, given=None, **settings):
        return rollout.limits_of(leavers.revision(None, settings=settings), given or {})

    def test_what_was_said_comes_before_the_pillar_and_that_before_what_is_usual(self):
        found = self.of({"batch": "50%"}, rollout={"batch": 2, "deadline": 60})
        assert (found["batch"], found["deadline"], found["revisions_kept"]) == ("50%", 60, 5)

    def test_a_revision_of_an_older_version_has_none(self):
        assert self.of(rollout={})["min_in_service"] == 1

    def test_a_canary_is_altered_and_not_replaced(self):
        pillar = {"canary": {"enabled": True, "time": 60}}
        found = self.of({"canary": {"time": 5}}, rollout=pillar)
        assert found["canary"] == {"enabled": True, "time": 5}
        # What is no such thing is for the preflight to refuse, by its name.
        assert self.of({"canary": False}, rollout=pillar)["canary"] is False

    def test_who_leaves_is_only_said(self):
        assert self.of(rollout={"leaving": ["web-1"]})["leaving"] == []
        assert self.of({"leaving": ["web-2"]})["leaving"] == ["web-2"]
