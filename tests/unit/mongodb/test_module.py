"""Where the execution module gets its settings from, and that secrets stay where they are."""

import inspect
import re

import pytest
from salt.exceptions import CommandExecutionError
from salt.utils.secret import hide

from tests.support.loading import load

mongodb = load("_modules/mongodb.py")
users = load("_modules/mongodb_access.py")
members = load("_modules/mongodb_members.py")
resync = load("_modules/mongodb_resync.py")
PARTS = (mongodb, users, members, resync)
state = load("_states/mongodb.py")
login = load("_utils/mongodb_login.py")


@pytest.fixture
def configure_loader_modules():
    utils = {
        f"mongodb_login.{name}": getattr(login, name)
        for name in ("settings", "secret", "login", "logins", "errors", "session")
    }
    return {
        part: {"__opts__": {}, "__pillar__": {}, "__utils__": utils} for part in (mongodb, users)
    }


def settings(pillar=None, **opts):
    mongodb.__pillar__ = hide(pillar or {})
    mongodb.__opts__ = opts
    return mongodb._settings()


def logins(found, looking=False):
    """Return the logins that are tried, as an iterator."""
    return login.logins(found, mongodb.__pillar__, looking)


def test_defaults_need_no_configuration():
    found = settings()
    assert found["address"] == "127.0.0.1:27017"
    assert found["user"] is None
    assert list(logins(found, looking=True)) == []


def test_the_minions_configuration_wins_key_by_key():
    pillar = {
        "mongodb": {"host": "10.0.0.1", "port": 27018, "admin_user": "admin"},
        "secrets": {"mongodb_admin": "s3cret", "other": "0ther"},
    }
    found = settings(pillar, mongodb={"port": 27019}, **{"mongodb.timeout": 9})
    assert found["address"] == "10.0.0.1:27019"
    assert (found["user"], found["timeout"]) == ("admin", 9)
    admin = {
        "user": "admin",
        "password": "s3cret",
        "database": "admin",
        "mechanism": "SCRAM-SHA-256",
    }
    assert list(logins(found)) == [admin]
    found = settings(pillar, mongodb={"password_pillar": "secrets:other", "user": "root"})
    assert list(logins(found)) == [{**admin, "user": "root", "password": "0ther"}]
    found = settings({"db": {"who": "me"}}, **{"mongodb.user_pillar": "db:who"})
    assert found["user"] == "me"


def test_who_looks_logs_in_as_one_who_can_change_nothing():
    pillar = {
        "mongodb": {"admin_user": "admin", "health_user": "health"},
        "secrets": {"mongodb_health": "h3alth"},
    }
    found = settings(pillar)
    looking = logins(found, looking=True)
    first = next(looking)
    assert (first["user"], first["password"], first["database"]) == ("health", "h3alth", "admin")
    # The next is needed by a set that does not know this user yet.
    with pytest.raises(CommandExecutionError, match="no text at secrets:mongodb_admin"):
        next(looking)

    # A fleet whose secret is still to be made looks as it did before.
    pillar["secrets"] = {"mongodb_admin": "s3cret"}
    [only] = logins(settings(pillar), looking=True)
    assert only["user"] == "admin"
    [only] = logins(settings(pillar))
    assert only["user"] == "admin"


def test_ipv6_hosts_get_brackets():
    assert settings(mongodb={"host": "::1"})["address"] == "[::1]:27017"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"port": "27017"}, "mongodb:port must be a number"),
        ({"port": 0}, "mongodb:port must be a number"),
        ({"port": True}, "mongodb:port must be a number"),
        ({"timeout": 0}, "mongodb:timeout must be"),
        ({"timeout": "3"}, "mongodb:timeout must be"),
        ({"tls": {"ca": "x"}}, "mongodb:tls must map"),
        ({"tls": True}, "mongodb:tls must map"),
        ({"tls": {"tlsCertificateKeyFilePassword": "p4ss"}}, "must hold no password"),
        ({"mechanism": "PLAIN"}, "mongodb:mechanism must be SCRAM-SHA-256 or SCRAM-SHA-1"),
        ("db-1", "must be a mapping"),
    ],
)
def test_bad_settings_are_named(config, words):
    with pytest.raises(CommandExecutionError, match=words) as refused:
        settings(mongodb=config)
    assert "p4ss" not in str(refused.value)


@pytest.mark.parametrize("value", [None, "", 12345, ["x"]])
def test_a_missing_password_is_named_by_its_path(value):
    users.__pillar__ = hide({"secrets": {"mongodb_app": value}})
    with pytest.raises(CommandExecutionError, match="no text at secrets:mongodb_app") as refused:
        users._secret("secrets:mongodb_app")
    assert "12345" not in str(refused.value)


def public(module):
    return [
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == module.__name__
    ]


FUNCTIONS = [function for part in (*PARTS, state) for function in public(part)]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_every_function_is_documented_and_takes_no_password(function):
    text = inspect.getdoc(function)
    assert text
    for parameter in inspect.signature(function).parameters:
        assert not re.fullmatch(r".*(password|secret|pwd)", parameter)
        assert parameter in text
    if function.__module__ != state.__name__:
        assert f"mongodb.{function.__name__}" in text.split("CLI Example:")[1]
