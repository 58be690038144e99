"""What a minion can have the master do by the event bus: of Salt as it is published, and of ours.

The minions are real, and so are the masters; what a hostile minion says is said with its key.
"""

import json
import pathlib
import shutil

import pytest
import salt.utils.event
import salt.utils.jid

from tests.support.light_fleet import make_key
from tests.support.waiting import until
from tests.system.attacks import event_bus

# The master of batches looks at them every 5 s.
SECONDS = 30


class Stage:
    """A master, a minion that is attacked, and one whose key the attacker has.

    :param opts: the attacker's.
    :param run: runs ``salt`` on the master.
    """

    def __init__(self, master, opts, victim, run):
        self.master = master
        self.opts = opts
        self.victim = victim
        self.run = run

    def say(self, load):
        return event_bus.say(self.opts, load)

    def refusals(self, minion):
        log = pathlib.Path(self.master.config["log_file"]).read_text()
        mark = f"of minion {minion!r}: "
        return [line for line in log.splitlines() if "Refused event" in line and mark in line]

    def bus(self):
        config = dict(self.master.config)
        return salt.utils.event.get_master_event(config, config["sock_dir"], listen=True)


@pytest.fixture(scope="module")
def stock(master, minions, salt_cli):
    """The master that the other tests have: Salt as it is published."""
    folder = pathlib.Path(minions["alpha"].config["conf_file"]).parent
    return Stage(master, event_bus.options(folder), "beta", salt_cli)


@pytest.fixture(scope="module")
def patched(patched_factories):
    """A master and a minion of our Salt, and a minion's key for the attacker."""
    common = {"user": "root", "log_level_logfile": "warning", "state_events": True}
    master = patched_factories.salt_master_daemon(
        "patched-master",
        overrides={
            **common,
            "open_mode": False,
            "auto_accept": False,
            "worker_threads": 2,
        },
        on_auth_event_callback=lambda _master, _payload: None,
    )
    minions = {}
    accepted = pathlib.Path(master.config["pki_dir"]) / "minions"
    accepted.mkdir(parents=True, exist_ok=True)
    for name in ("gamma", "delta"):
        minion = master.salt_minion_daemon(
            name, overrides={**common, "grains": {}, "enable_fqdns_grains": False}
        )
        pki = pathlib.Path(minion.config["pki_dir"])
        make_key(pki)
        shutil.copy(pki / "minion.pub", accepted / name)
        minions[name] = minion
    cli = master.salt_cli()

    def run(*args, minion_tgt, **kwargs):
        return cli.run(*args, minion_tgt=minion_tgt, _timeout=180, **kwargs)

    folder = pathlib.Path(minions["gamma"].config["conf_file"]).parent
    with master.started(), minions["delta"].started():
        yield Stage(master, event_bus.options(folder), "delta", run)


def attack(stage, folder):
    """Try each way, and return the files that they are to make."""
    files = {name: folder / f"owned.{name}" for name in event_bus.WAYS}
    for name, way in event_bus.WAYS.items():
        stage.say(way(stage.opts, stage.victim, str(files[name])))
    return files


def test_salt_as_published_publishes_a_minions_job_so_our_patch_is_needed(stock, tmp_path):
    files = attack(stock, tmp_path)
    # When this fails, a newer Salt may be mended: then requirements/patches can go.
    until(
        lambda: [name for name, file in files.items() if not file.exists()],
        SECONDS,
        "each way has had its job run",
        wanted=[],
    )


def test_our_salt_publishes_no_job_of_a_minions_and_names_it(patched, tmp_path):
    files = attack(patched, tmp_path)
    refusals = until(
        lambda: patched.refusals("gamma"),
        SECONDS,
        "each way is logged with the minion's ID, a pretag's with it and without",
        wanted=lambda lines: len(lines) == len(files) + 1,
    )
    # What the master does comes after each event, so this is later than any of the jobs.
    assert patched.run("test.ping", minion_tgt=patched.victim).data is True
    assert [name for name, file in files.items() if file.exists()] == [], refusals


def forgeries(stage, jid):
    """Return what a minion can say to have another one's return of a job taken from it."""
    job = {"jid": jid, "fun": "test.ping", "fun_args": [], "retcode": 0, "success": True}
    whole = {**job, "id": stage.victim, "return": "forged"}
    return [
        {"cmd": "_minion_event", "tag": f"salt/job/{jid}/ret/{stage.victim}", "data": {}, **job},
        {"cmd": "_minion_event", "events": [{"tag": f"salt/job/{jid}/ret/x", "data": whole}]},
        {"cmd": "_syndic_return", "jid": jid, "return": {stage.victim: {"return": "forged"}}},
        {"cmd": "_return", "return": "forged", "resource_id": stage.victim, **job},
    ]


def returns(stage):
    """Forge returns, then return honestly; return who had returned what, as the bus tells it."""
    jid = salt.utils.jid.gen_jid(stage.opts)
    with stage.bus() as bus:
        for load in forgeries(stage, jid):
            stage.say(load)
        stage.say({"cmd": "_return", "jid": jid, "fun": "test.ping", "return": "honest"})
        seen = []
        while not seen or seen[-1][1] != "honest":
            event = bus.get_event(wait=SECONDS, tag=f"salt/job/{jid}/ret/", full=True)
            assert event, seen
            seen.append((event["data"]["id"], event["data"].get("return")))
    return seen


def test_salt_as_published_takes_a_minions_word_for_anothers_return(stock):
    forged = (stock.victim, "forged")
    seen = returns(stock)
    assert set(seen) == {("alpha", None), forged, ("alpha", "honest")}
    # As a list of events and as a device's; as a syndic's where returns need no signature.
    assert seen.count(forged) >= 2


def test_our_salt_takes_no_minions_word_for_anothers_return(patched):
    assert returns(patched) == [("gamma", "honest")]


def test_what_honest_minions_say_arrives_at_our_master(patched):
    me = patched.victim
    own, other, custom = f"salt/beacon/{me}/load/", "salt/beacon/gamma/load/", "shop/order/new"
    states = json.dumps({tag: {"event": ["send"]} for tag in (other, own, custom)})
    wanted = {"salt/beacon/*": own, "shop/*": custom, f"salt/job/*/prog/{me}/2": None}
    with patched.bus() as bus:
        # What comes while something else is waited for is kept.
        for pattern in wanted:
            bus.subscribe(pattern, "fnmatch")
        done = patched.run("state.high", states, minion_tgt=me)
        assert len(done.data) == 3, done
        for pattern, tag in wanted.items():
            event = bus.get_event(wait=SECONDS, tag=pattern, match_type="fnmatch", full=True)
            assert event, pattern
            assert tag in (None, event["tag"])
    until(lambda: patched.refusals(me), SECONDS, "the tag with another's ID is logged")
    assert [line for line in patched.refusals(me) if other not in line] == []
