"""The strict settings that bootstrap gives hold, and what is weaker is refused.

Master and minion run the Salt that nodes get, whose patch makes signed returns reliable: as it is
published, Salt signs a return that it sends again so that the master drops it.
"""

import pathlib
import time
import types

import pytest
import salt.channel.client
import salt.config
import salt.exceptions
import salt.payload
import salt.utils.jid
import zmq

from tests.support.light_fleet import make_key, settings
from tests.support.waiting import until

EXOTIC = """
import datetime

def exotic():
    return [{1}, b"ab", 2**70, datetime.datetime(2026, 11, 27)]
"""


class Stage:
    """A master, a minion of it, and what else the minion's key can say to it."""

    def __init__(self, master, folder):
        self.master = master
        self.folder = folder
        self.sessions = pathlib.Path(master.config["cachedir"]) / "sessions"

    def give(self, load, **settings):
        """Send a return, with settings of a minion that is less strict; return its job's ID."""
        opts = salt.config.minion_config(str(self.folder / "minion"))
        opts.update(settings, __role="minion")
        opts["master_uri"] = f"tcp://127.0.0.1:{self.master.config['ret_port']}"
        load.update(
            cmd="_return",
            id="delta",
            jid=salt.utils.jid.gen_jid(opts),
            fun="test.ping",
            fun_args=[],
            retcode=0,
            success=True,
        )
        with salt.channel.client.ReqChannel.factory(opts) as channel:
            channel.send(load, timeout=30, tries=1)
        return load["jid"]

    def ask(self, function):
        """Return what the minion answers, in JSON's terms."""
        return self.master.salt_cli().run(function, minion_tgt="delta", _timeout=180).data

    def got(self, jid):
        """Return what the master has of a job: None when it dropped it."""
        jobs = str(pathlib.Path(self.master.config["cachedir"]) / "jobs")
        job = salt.utils.jid.jid_dir(jid, jobs, self.master.config["hash_type"])
        kept = pathlib.Path(job) / "delta/return.p"
        if not kept.exists():
            return None
        return salt.payload.loads(kept.read_bytes(), encoding="utf-8")["return"]

    def log(self):
        return pathlib.Path(self.master.config["log_file"]).read_text()


@pytest.fixture(scope="module")
def stage(patched_factories, tmp_path_factory):
    common = {"user": "root", "log_level_logfile": "warning"}
    master = patched_factories.salt_master_daemon(
        "strict-master",
        overrides={**settings("master"), **common, "timeout": 30},
        on_auth_event_callback=lambda _master, _payload: None,
    )
    own = settings("minion")
    del own["master"]
    modules = tmp_path_factory.mktemp("modules")
    (modules / "values.py").write_text(EXOTIC)
    minion = master.salt_minion_daemon(
        "delta", overrides={**own, **common, "grains": {}, "module_dirs": [str(modules)]}
    )
    pki = pathlib.Path(minion.config["pki_dir"])
    make_key(pki, bits=own["keysize"])
    accepted = pathlib.Path(master.config["pki_dir"]) / "minions/delta"
    accepted.parent.mkdir(parents=True, exist_ok=True)
    accepted.write_bytes((pki / "minion.pub").read_bytes())
    with master.started(), minion.started():
        yield Stage(master, pathlib.Path(minion.config["conf_file"]).parent)


def test_a_signed_return_is_heard_and_others_are_dropped(stage):
    assert stage.got(stage.give({"return": "signed"})) == "signed"
    unsigned = stage.give({"return": "unsigned"}, minion_sign_messages=False)
    weak = stage.give({"return": "weak"}, signing_algorithm="PKCS1v15-SHA1")
    assert [stage.got(jid) for jid in (unsigned, weak)] == [None, None]
    assert "there is no signature in this payload from delta" in stage.log()


def test_any_value_can_be_returned(stage):
    date = "datetime.datetime(2026, 11, 27, 0, 0)"
    assert stage.ask("values.exotic") == [[1], "ab", str(2**70), date]


def test_a_return_that_is_sent_again_is_heard(stage):
    # A minion's session ends each day: what it says then is refused, and is said again.
    (stage.sessions / "delta").unlink()
    assert stage.ask("test.ping") is True


def test_a_request_that_somebody_kept_is_refused(stage, monkeypatch):
    late = types.SimpleNamespace(time=lambda: time.time() - 310)
    load = {"return": "old"}
    monkeypatch.setattr(salt.channel.client, "time", late)
    with pytest.raises(salt.exceptions.SaltException):
        stage.give(load)
    assert stage.got(load["jid"]) is None
    assert "Received request from delta with expired ttl" in stage.log()


def test_no_session_is_made_for_a_stranger(stage):
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.rcvtimeo = 30_000
        socket.connect(f"tcp://127.0.0.1:{stage.master.config['ret_port']}")
        message = {"enc": "aes", "id": "stranger", "load": b"nothing", "version": 3}
        socket.send(salt.payload.dumps(message))
        assert salt.payload.loads(socket.recv()) == "bad load"
    until(
        lambda: sorted(path.name for path in stage.sessions.iterdir()),
        10,
        "the sessions",
        wanted=["delta"],
    )
