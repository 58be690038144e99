"""What a rollout would do, as data and as tables: order, differences, restarts, and no secret."""

import io
import json

import pytest

from fleet import diff, lock, minions, plan, plan_table, plan_view, preflight, revision, rollout
from fleet.errors import FleetError
from fleet.plan import NodePlan, Plan
from fleet.plan_view import Present
from tests.support.checkout import Checkout

NODES = {
    "boss": ("127.0.0.10", ["master"]),
    "lb-1": ("127.0.0.11", ["lb"]),
    "lb-2": ("127.0.0.12", ["lb"]),
    "web-1": ("127.0.0.13", ["web"]),
    "web-2": ("127.0.0.14", ["web"]),
    "db-1": ("127.0.0.15", ["db", "storage"]),
    "db-2": ("127.0.0.16", ["db", "storage"]),
    "db-3": ("127.0.0.17", ["db", "storage"]),
}
PASSWORD = "p4ss/word+of=theapp"
SERVING = Present(
    {"db-1": "PRIMARY", "db-2": "SECONDARY", "db-3": "SECONDARY"}, {"web-1", "web-2"}, ["lb-1"]
)


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.write_topology(NODES)
    made.pillar("rollout", {"batch": 1, "min_in_service": 1, "revisions_kept": 5})
    return made


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    """To compile every node's pillar takes long, and is tried in test_diff."""
    monkeypatch.setattr(diff, "secrets", lambda _revision, nodes: {PASSWORD} if nodes else set())


@pytest.fixture
def master(checkout):
    return checkout.master


def entry(sls, id_="It", state="file.managed", changes=None, comment="", name="/etc/it"):
    return {
        "id": id_,
        "sls": sls,
        "state": state,
        "name": name,
        "comment": comment,
        "changes": changes or {},
        "seconds": 0.1,
        "fails": False,
    }


def planned(**pending):
    """A plan in which nodes (``web_1``) have these states to do."""
    nodes = {}
    for node, (_address, roles) in NODES.items():
        nodes[node] = NodePlan(list(roles))
        for each in pending.get(node.replace("-", "_"), []):
            each = entry(each) if isinstance(each, str) else each
            nodes[node].pending.setdefault(each["sls"], []).append(each)
    return Plan(nodes)


# The order


def test_secondaries_go_first_and_so_does_the_balancer_without_the_vip():
    every = planned(
        boss=["base.hosts"],
        lb_1=["lb.haproxy"],
        lb_2=["lb.haproxy"],
        web_1=["web.config"],
        web_2=["web.config"],
        db_1=["db.config", "storage.volume"],
        db_2=["db.config"],
        db_3=["db.config", "gluster.mount"],
    )
    assert plan_view.order(every, SERVING) == [
        ("prepare", ["boss"]),
        ("storage", ["db-1"]),
        ("storage", ["db-3"]),
        ("db", ["db-2"]),
        ("db", ["db-3"]),
        ("db", ["db-1"]),
        ("web", ["web-1"]),
        ("web", ["web-2"]),
        ("lb", ["lb-2"]),
        ("lb", ["lb-1"]),
    ]


def test_a_member_that_is_down_comes_before_those_that_serve():
    every = planned(db_1=["db.config"], db_2=["db.config"], db_3=["db.config"])
    present = Present({"db-1": "PRIMARY", "db-2": "SECONDARY", "db-3": None}, set(), [])
    order = plan_view.order(every, present)
    assert [nodes for _stage, nodes in order] == [["db-3"], ["db-2"], ["db-1"]]


def test_what_serves_nobody_yet_is_made_at_once():
    every = planned(
        web_1=["web.config"], web_2=["web.config"], db_1=["db.config"], db_2=["db.config"]
    )
    assert plan_view.order(every, Present()) == [
        ("db", ["db-1", "db-2"]),
        ("web", ["web-1", "web-2"]),
    ]


def test_web_servers_out_of_service_come_first_and_batches_are_shown():
    every = planned(web_1=["web.config"], web_2=["web.config"])
    assert plan_view.order(every, Present(servers={"web-1"}, members={"db-1": "PRIMARY"})) == [
        ("web", ["web-2"]),
        ("web", ["web-1"]),
    ]
    assert plan_view.order(every, SERVING, batch=2) == [("web", ["web-1", "web-2"])]


def test_nothing_to_do_has_no_turns():
    assert plan_view.order(planned(), SERVING) == []


# The view


def two_revisions(checkout):
    """What the fleet is on, and a candidate with another setting and release."""
    checkout.pillar("web", {"web": {"port": 8000}})
    base = revision.capture(checkout.master, "1.0")
    revision.settle(base)
    checkout.pillar("web", {"web": {"port": 8001}})
    return base, revision.capture(checkout.master, "1.1")


@pytest.fixture
def revisions(checkout):
    return two_revisions(checkout)


def view(made, revisions, present=SERVING):
    base, candidate = revisions
    return plan_view.view(made, candidate, base, present)


def test_states_have_their_differences(revisions):
    text = "--- \n+++ \n@@ -1 +1 @@\n-bind *:80\n+bind *:81\n"
    found = view(
        planned(
            lb_2=[
                entry("lb.haproxy", "HAProxy is configured", changes={"diff": text, "mode": "0644"})
            ],
            web_1=[
                entry(
                    "web.release",
                    "The release is active",
                    "counterapp.active",
                    {"current": {"old": "1.0", "new": "1.1"}},
                ),
                entry(
                    "web.install",
                    state="pkg.installed",
                    changes={"python3": {"old": "", "new": "installed"}},
                ),
                entry("web.config", changes={"a": {"b": {"old": [1], "new": [1, 2]}}}),
            ],
        ),
        revisions,
    )
    [state] = found["nodes"]["lb-2"]
    assert state["diff"] == text
    assert state["changes"] == [{"what": "mode", "old": None, "new": "0644"}]
    assert (state["stage"], state["hidden"], state["fails"]) == ("lb", False, False)
    assert [each["changes"] for each in found["nodes"]["web-1"]] == [
        [{"what": "current", "old": "1.0", "new": "1.1"}],
        [{"what": "python3", "old": "", "new": "installed"}],
        [{"what": "a.b", "old": [1], "new": [1, 2]}],
    ]
    assert found["changes"] == 4
    json.dumps(found)


def test_what_a_state_does_not_show_is_only_told(revisions):
    hidden = entry("web.config", changes={"diff": "<show_changes=False>"})
    [state] = view(planned(web_1=[hidden]), revisions)["nodes"]["web-1"]
    assert (state["diff"], state["changes"], state["hidden"]) == (None, [], True)


@pytest.mark.parametrize(
    ("sls", "fresh", "node", "stage"),
    [
        ("base.hosts", False, "web-1", "prepare"),
        ("gluster.install", False, "web-1", "prepare"),
        ("gluster.mount", False, "web-1", "storage"),
        ("storage.service", False, "db-1", "prepare"),
        ("storage.volume", False, "db-1", "storage"),
        ("web.install", True, "web-1", "prepare"),
        ("web.install", False, "web-1", "web"),
        ("web.release", True, "web-1", "web"),
        ("db", False, "db-1", "db"),
        ("website.own", False, "web-1", "none"),
    ],
)
def test_a_state_is_shown_at_the_stage_that_applies_it(revisions, sls, fresh, node, stage):
    made = planned(**{node.replace("-", "_"): [sls]})
    made.nodes[node].fresh = fresh
    assert view(made, revisions)["nodes"][node][0]["stage"] == stage


def test_drains_step_downs_and_hand_overs_are_told(revisions):
    found = view(
        planned(web_1=["web.config"], db_1=["db.config"], db_2=["db.config"], lb_1=["lb.haproxy"]),
        revisions,
    )
    assert found["drains"] == ["web-1"]
    assert found["step_downs"] == ["db-1"]
    assert found["hand_overs"] == ["lb-1"]
    assert list(found["nodes"]) == ["db-2", "db-1", "web-1", "lb-1"]


def test_nothing_is_drained_that_does_not_serve(revisions):
    made = planned(web_1=["web.config"], db_1=["db.config"], lb_1=["lb.haproxy"])
    found = view(made, revisions, Present())
    assert [found[key] for key in ("drains", "step_downs", "hand_overs")] == [[], [], []]


def service(sls, comment, name="haproxy"):
    return entry(sls, "It runs", "service.running", comment=comment, name=name)


def test_restarts_are_told_once_a_service(revisions):
    active = entry(
        "web.release",
        "The release is active",
        "counterapp.active",
        {"serving": {"old": "1.0", "new": "1.1"}},
        "release 1.1 would be activated and counterapp restarted",
    )
    found = view(
        planned(
            lb_2=[
                service("lb.haproxy", "Service is set to be restarted"),
                service("lb.haproxy", "Service is set to be reloaded"),
                service("lb.keepalived", "Service is set to be reloaded", "keepalived"),
            ],
            db_2=[service("db.service", "Service mongod is set to start", "mongod")],
            db_3=[
                service(
                    "db.service",
                    "Service mongod not present; if created in this state run, it would have been "
                    "started",
                    "mongod",
                )
            ],
            web_1=[active],
            web_2=[{**active, "changes": {"serving": {"old": None, "new": "1.1"}}}],
        ),
        revisions,
    )
    assert [(each["node"], each["service"], each["what"]) for each in found["restarts"]] == [
        ("db-2", "mongod", "start"),
        ("db-3", "mongod", "start"),
        ("web-1", "counterapp", "restart"),
        ("web-2", "counterapp", "start"),
        ("lb-2", "haproxy", "restart"),
        ("lb-2", "keepalived", "reload"),
    ]


def test_the_revisions_files_are_compared(revisions):
    found = view(planned(), revisions)
    assert [(each["path"], each["change"]) for each in found["files"]] == [
        ("pillar/release.sls", "changed"),
        ("pillar/web.sls", "changed"),
    ]
    assert '-release: "1.0"\n+release: "1.1"' in found["files"][0]["diff"]
    assert found["release"] == {"from": "1.0", "to": "1.1"}


def test_the_first_rollout_has_nothing_to_compare(master):
    made = revision.capture(master, "1.0")
    found = plan_view.view(planned(web_1=["web.config"]), made, None, Present())
    assert found["files"] == []
    assert found["revision"] == {"from": None, "to": made.id}


def test_secrets_are_masked_wherever_they_are(checkout):
    checkout.pillar("lb", {"lb": {"note": PASSWORD}})
    base = revision.capture(checkout.master, "1.0")
    checkout.pillar("lb", {"lb": {"note": f"{PASSWORD} of old"}})
    state = entry(
        "web.config",
        f"It knows {PASSWORD}",
        changes={
            "diff": f"--- \n+++ \n@@ -1 +1 @@\n+URI=mongodb://app:{PASSWORD}@db\n",
            "password": {"old": None, "new": PASSWORD},
            "list": [{"deep": PASSWORD}],
        },
        comment=f"with {PASSWORD}",
        name=f"/etc/{PASSWORD}",
    )
    found = view(planned(web_1=[state]), (base, revision.capture(checkout.master, "1.0")))
    assert PASSWORD not in json.dumps(found)
    [shown] = found["nodes"]["web-1"]
    assert shown["diff"].endswith("+URI=mongodb://app:***@db\n")
    assert "note: ***" in found["files"][0]["diff"]
    assert PASSWORD not in plan_view.render(found, False, 100)


# Tables


def full(revisions):
    text = "--- \n+++ \n@@ -1 +1 @@\n-bind *:80\n+bind *:81\n"
    return view(
        planned(
            lb_1=[
                entry("lb.haproxy", "HAProxy is configured", changes={"diff": text}),
                service("lb.haproxy", "Service is set to be reloaded"),
            ],
            web_1=[entry("web.config", changes={"diff": "<show_changes=False>"})],
            db_1=[{**entry("db.config", comment="no \x1b[31mkeyfile\n"), "fails": True}],
            boss=[entry("own.sls")],
        ),
        revisions,
    )


def test_a_plan_reads_in_its_order(revisions):
    text = plan_view.render(full(revisions), colour=False, width=80)
    assert "\x1b" not in text
    lines = text.splitlines()
    base, candidate = revisions
    assert lines[0] == f"Revision {base.id} (release 1.0) -> {candidate.id} (release 1.1)"
    at = [
        next(number for number, line in enumerate(lines) if line.split()[:2] == words)
        for words in (["db", "db-1"], ["web", "web-1"], ["lb", "lb-1"], ["none", "boss"])
    ]
    assert at == sorted(at)
    assert "db-1 steps down" in lines[at[0]]
    assert "web-1 is drained" in lines[at[1]]
    assert "lb-1 hands over the VIP; haproxy is reloaded" in lines[at[2]]
    assert "    +bind *:81" in lines
    assert "    its content changes, and is not shown: there are secrets in it" in lines
    assert "  ! It" in lines
    assert "    no ?[31mkeyfile?" in lines
    assert lines[-1] == (
        f"revision {candidate.id} (release 1.1): 5 states would change on 4 nodes, 1 service, "
        "1 drain, 1 step-down, 1 hand-over"
    )
    assert all(len(line) <= 80 for line in lines[: at[3]])


def test_colours_only_colour(revisions, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = full(revisions)
    text = plan_view.render(found, colour=True, width=80)
    assert "\x1b[32m+bind *:81\x1b[0m" in text
    for code in ("0", "1", "2", "31", "32", "33", "36"):
        text = text.replace(f"\x1b[{code}m", "")
    assert text == plan_view.render(found, colour=False, width=80)


def test_nothing_to_do_is_a_sentence(revisions):
    found = view(planned(), (revisions[1], revisions[1]))
    assert plan_view.render(found, False, 80).splitlines()[-1].startswith("nothing to do: ")


def test_columns_fit_a_narrow_terminal():
    rows = [("stage", "nodes"), ("prepare", ", ".join(f"web-{number}" for number in range(30)))]
    lines = plan_table.table(rows, 40, lambda text, _code: text)
    assert all(len(line) <= 40 for line in lines)
    assert "web-29" in lines[-1]


# The command


class Fleet:
    """Minions of a fleet that serves, with states to do by node."""

    def __init__(self, master):
        self.master = master
        self.states = {}
        self.asked = []

    def everyone(self, nodes, function, arg=(), kwarg=None, timeout=15, patience=10):
        found = minions.Answers()
        self.asked.append((function, dict(kwarg or {})))
        for node in nodes:
            if function == "state.highstate":
                assert revision.candidate(self.master)
                assert kwarg["test"] is True
                state = {"result": True, "changes": {}, "__id__": "x", "__sls__": "base.hosts"}
                found.answers[node] = self.states.get(node, {"file_|-x_|-x_|-managed": state})
            elif function == "mongodb.status":
                name = "PRIMARY" if node == "db-1" else "SECONDARY"
                found.answers[node] = {"state": name, "initialized": True}
            elif function == "mongodb.is_open":
                found.answers[node] = False
            elif function == "haproxy.servers":
                found.answers[node] = [{"name": "web-1", "in_service": True}]
            elif function == "network.ip_addrs":
                found.answers[node] = ["127.0.0.2"] if node == "lb-1" else []
            else:
                found.answers[node] = True
        return found


@pytest.fixture
def fleet(master, monkeypatch):
    monkeypatch.setattr(
        preflight, "unreachable", lambda work: (dict.fromkeys(work.nodes, work.target.modules), [])
    )
    monkeypatch.setattr(preflight, "problems", lambda *_args: [])
    monkeypatch.setattr(
        rollout, "target_of", lambda master, given: revision.capture(master, given["release"])
    )
    return Fleet(master)


def to_do():
    return {
        "file_|-x_|-/etc/hosts_|-managed": {
            "result": None,
            "changes": {"diff": "+x"},
            "__id__": "Hosts",
            "__sls__": "base.hosts",
            "name": "/etc/hosts",
        }
    }


class Terminal(io.StringIO):
    def isatty(self):
        return True


def untouched(master):
    assert revision.candidate(master) is None
    assert lock.holder(master.state) is None
    assert not (master.state / "history.jsonl").exists()
    assert not (master.state / "changes").exists()


def test_nothing_to_do_ends_with_0(master, fleet):
    found = plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    assert "retcode" not in found
    assert found["changes"] == 0
    untouched(master)


def test_changes_end_with_2(master, fleet):
    fleet.states["web-1"] = to_do()
    found = plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    assert found["retcode"] == 2
    assert found["nodes"]["web-1"][0]["diff"] == "+x"
    untouched(master)


def test_a_terminal_gets_tables_and_a_sentence(master, fleet):
    fleet.states["web-1"] = to_do()
    stream = Terminal()
    found = plan_view.command(master, fleet, "1.0", stream=stream)
    assert found["retcode"] == 2
    assert "1 state would change on 1 node" in found["plan"]
    assert "prepare" in stream.getvalue()
    fleet.states.clear()
    assert plan_view.command(master, fleet, "1.0", stream=stream).startswith("nothing to do")


def test_a_terminal_that_wants_data_gets_data(master, fleet):
    master.opts["output"] = "json"
    stream = Terminal()
    assert plan_view.command(master, fleet, "1.0", stream=stream)["changes"] == 0
    assert stream.getvalue() == ""


def test_all_reasons_to_refuse_are_told(master, fleet, monkeypatch):
    monkeypatch.setattr(
        preflight, "unreachable", lambda work: ({"web-1": work.target.modules}, ["db-1: silent"])
    )
    monkeypatch.setattr(preflight, "problems", lambda *_args: ["the clock is wrong"])
    fleet.states["web-1"] = ["does not render"]
    with pytest.raises(FleetError) as refused:
        plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    assert refused.value.problems == [
        "db-1: silent",
        "web-1: does not render",
        "the clock is wrong",
    ]
    untouched(master)


def test_a_change_that_runs_is_not_disturbed(master, fleet):
    lock.take(master.state, "20261127-220000-abcd", "rollout")
    with pytest.raises(FleetError, match=r"20261127-220000-abcd \(rollout\)"):
        plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    assert fleet.asked == []
    assert lock.holder(master.state)["kind"] == "rollout"


def test_the_lock_of_a_dead_change_stays_for_who_writes_down_what_it_was_at(master, fleet):
    lock.take(master.state, "20261127-220000-abcd", "rollout")
    path = master.state / lock.NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}))
    before = json.loads(path.read_text())
    plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    assert json.loads(path.read_text()) == before
    assert not lock.holder(master.state)["alive"]


def test_nodes_between_revisions_are_not_looked_at(master, fleet):
    made = revision.capture(master, "0.9")
    revision.offer(made)
    revision.move(master, ["web-1"], "20261127-220000-abcd")
    with pytest.raises(FleetError, match="died with web-1 between two revisions"):
        plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    assert revision.candidate(master).id == made.id


@pytest.mark.parametrize("same", [True, False])
def test_modules_of_a_candidate_do_not_stay(master, fleet, monkeypatch, same):
    modules = property(lambda self: "ours" if same else self.release)
    monkeypatch.setattr(revision.Revision, "modules", modules)
    revision.settle(revision.capture(master, "0.9"))
    plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    synced = [kwarg for function, kwarg in fleet.asked if function == "saltutil.sync_all"]
    assert synced == ([] if same else [{"saltenv": "base"}])


def test_a_release_and_a_revision_are_not_both_said(master, fleet):
    with pytest.raises(FleetError, match="not both"):
        plan_view.command(master, fleet, "1.0", "0123456789ab", stream=io.StringIO())


def test_what_fails_in_a_dry_run_is_marked():
    failed = {"result": False, "changes": {}, "__id__": "It", "__sls__": "web.config"}
    made = plan._of_node(["web"], minions.report({"file_|-x_|-x_|-managed": failed}))
    assert made.pending["web.config"][0]["fails"]


def test_who_leaves_is_told_and_need_not_be_named(master, fleet, monkeypatch):
    said = []
    monkeypatch.setattr(plan_view.leaving, "going", lambda _revision: {"web-2": {}})
    monkeypatch.setattr(
        preflight, "problems", lambda work, *_args: said.append(work.limits["leaving"]) or []
    )
    found = plan_view.command(master, fleet, "1.0", stream=io.StringIO())
    assert said == [["web-2"]]
    assert (found["leaving"], found["retcode"]) == (["web-2"], 2)
    assert plan_table.summary(found).endswith("web-2 would leave")
