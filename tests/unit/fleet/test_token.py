"""Tokens for operators, as the app reads them."""

import stat
import time

import jwt
import pytest

from fleet import revision, token
from fleet.errors import FleetError
from fleet.lock import owner
from tests.support.checkout import Checkout

KEY = "an operator key of 256 bits and more"


@pytest.fixture
def checkout(tmp_path):
    found = Checkout(tmp_path)
    (found.notes / "secrets").mkdir()
    text = f'secrets: {{counterapp_operator: "{KEY}"}}'
    (found.notes / "secrets/counterapp_operator.sls").write_text(text)
    return found


@pytest.fixture
def master(checkout):
    return checkout.master


def claims(path):
    scheme, signed = path.read_text().removeprefix("Authorization: ").split()
    assert scheme == "Bearer"
    return signed, jwt.decode(signed, KEY, algorithms=["HS256"], audience="counterapp")


@pytest.mark.parametrize("rolled_out", [False, True])
def test_it_is_good_for_the_app_and_in_a_file_of_roots_alone(checkout, master, rolled_out):
    if rolled_out:
        revision.settle(revision.capture(master, "1.0"))
        # What nodes have is not what is being written.
        (checkout.folder / "pillar/topology.sls").write_text("topologies: [")
    before = time.time()
    done = token.make(master, "counters:write, counters:read", minutes=5)
    path = master.state / "operator.header"
    assert done["path"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    signed, found = claims(path)
    assert found["scope"] == "counters:read counters:write"
    assert found["sub"] == done["subject"] == owner()
    assert before + 299 <= found["exp"] <= time.time() + 301
    # What a runner returns goes to the job cache and the event bus.
    assert signed not in repr(done)
    assert KEY not in repr(done)
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == ["operator.header"]


def test_a_new_one_takes_the_place_of_the_old(checkout, master):
    path = checkout.folder / "mine.header"
    first = token.make(master, path=str(path), subject="ana")
    text = path.read_text()
    token.make(master, path=str(path), subject="berta", minutes=1)
    assert first["scopes"] == ["counters:read"]
    assert path.read_text() != text
    assert claims(path)[1]["sub"] == "berta"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"scopes": "counters:admin"}, "the scopes must be some of"),
        ({"scopes": ""}, "the scopes must be some of"),
        ({"minutes": 0}, "minutes must be from 1 to 1440"),
        ({"minutes": 1441}, "the app takes no token that is good for more than a day"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(master, asked, words):
    with pytest.raises(FleetError, match=words):
        token.make(master, **asked)
    assert not (master.state / "operator.header").exists()


def test_a_place_that_cannot_be_written_is_told(master):
    with pytest.raises(OSError, match="/dev/null"):
        token.make(master, path="/dev/null/header")


def test_without_a_key_it_says_how_to_make_one(checkout, master):
    (checkout.notes / "secrets/counterapp_operator.sls").unlink()
    with pytest.raises(FleetError, match="make-secrets"):
        token.make(master)
