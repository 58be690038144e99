"""Events of a change on an event bus that is real, of no master."""

import logging

import pytest
import salt.config
import salt.transport
import salt.utils.event
import salt.utils.process

from fleet.bus import Bus, events
from fleet.change import TAG
from fleet.master import Master
from tests.support.waiting import until

EVENT = {"change": "20261127-120000-abcd", "event": "begun", "kind": "rollout", "time": "now"}


@pytest.fixture
def master(tmp_path):
    opts = salt.config.master_config(None)
    opts.update(
        id="boss",
        root_dir=str(tmp_path),
        sock_dir=str(tmp_path / "sock"),
        cachedir=str(tmp_path / "cache"),
        pki_dir=str(tmp_path / "pki"),
        log_file=str(tmp_path / "log"),
    )
    for name in ("sock", "cache", "pki"):
        (tmp_path / name).mkdir()
    return Master(opts)


@pytest.fixture
def published(master, tmp_path):
    server = salt.transport.ipc_publish_server("master", dict(master.opts))
    publisher = salt.utils.process.Process(
        target=server.publish_daemon, args=[server.publish_payload]
    )
    publisher.start()
    sockets = [tmp_path / f"sock/master_event_{end}.ipc" for end in ("pub", "pull")]
    until(lambda: all(path.exists() for path in sockets), 20, "the bus has its sockets")
    yield master
    publisher.terminate()
    publisher.join()


def test_what_is_told_is_heard_as_it_was_told(published):
    with events(published, quiet=20) as heard:
        event = dict(EVENT)
        Bus(published)(event)
        assert event == EVENT
        found = next(heard)
        assert {key: found[key] for key in EVENT} == EVENT


def test_other_events_are_passed_over_and_silence_is_told(published):
    opts = dict(published.opts)
    with (
        events(published, quiet=0.5) as heard,
        salt.utils.event.get_event(
            "master", sock_dir=opts["sock_dir"], opts=opts, listen=False
        ) as bus,
    ):
        assert bus.fire_event({"id": "x"}, "salt/auth")
        assert next(heard) is None
        assert bus.fire_event(dict(EVENT), TAG)
        assert next(heard)["change"] == EVENT["change"]


def test_a_bus_that_cannot_be_reached_is_told_of_once(master, caplog):
    bus = Bus(master)
    with caplog.at_level(logging.WARNING, logger="fleet.bus"):
        bus(dict(EVENT))
        bus(dict(EVENT))
    assert [record.name for record in caplog.records].count("fleet.bus") == 1
