"""Users of a running set, from any of its nodes, and passwords that never show."""

import logging

import pymongo
import pytest
from pymongo.errors import OperationFailure
from salt.exceptions import CommandExecutionError

from .conftest import APP_PASSWORD

APP = {"password_pillar": "secrets:mongodb_app", "database": "counterapp"}


@pytest.fixture
def secondary(cluster):
    """A node that is not the primary, in a set without the application's user."""
    node = cluster.secondaries[0]
    if node.call("user_exists", "app", "counterapp"):
        node.call("user_remove", "app", "counterapp", confirm="app")
    return node


def login(cluster, password, user="app", database="counterapp"):
    with pymongo.MongoClient(cluster.rs.uri_for(user, password, database)) as client:
        client[database].command("ping")


def test_a_user_is_created_and_kept(cluster, secondary):
    wanted = {**APP, "roles": ["readWrite", {"role": "read", "db": "other"}]}
    plan = secondary.state("user_present", "app", test=True, **wanted)
    assert plan["result"] is None
    assert plan["changes"] == {
        "user": {"old": None, "new": "app"},
        "roles": {"old": [], "new": ["read@other", "readWrite@counterapp"]},
    }
    assert secondary.call("user_exists", "app", "counterapp") is False

    made = secondary.state("user_present", "app", **wanted)
    assert made["result"] is True, made
    assert made["changes"] == plan["changes"]
    login(cluster, APP_PASSWORD)
    for node in cluster.nodes:
        for test in (True, False):
            again = node.state("user_present", "app", test=test, **wanted)
            assert (again["result"], again["changes"]) == (True, {})


def test_roles_and_password_are_put_right(cluster, secondary):
    wanted = {**APP, "roles": ["readWrite"]}
    with cluster.rs.client() as client:
        client.counterapp.command("createUser", "app", pwd="another", roles=["read"])

    expected = {
        "roles": {"old": ["read@counterapp"], "new": ["readWrite@counterapp"]},
        "password": {"old": "another", "new": "the one at pillar secrets:mongodb_app"},
    }
    plan = secondary.state("user_present", "app", test=True, **wanted)
    assert (plan["result"], plan["changes"]) == (None, expected)
    login(cluster, "another")
    made = secondary.state("user_present", "app", **wanted)
    assert (made["result"], made["changes"]) == (True, expected)
    login(cluster, APP_PASSWORD)
    with pytest.raises(OperationFailure):
        login(cluster, "another")
    again = secondary.state("user_present", "app", **wanted)
    assert (again["result"], again["changes"]) == (True, {})


def test_the_functions_under_the_state(cluster, secondary):
    secondary.call("user_create", "app", "secrets:mongodb_app", "counterapp", ["readWrite"])
    info = {
        "name": "app",
        "database": "counterapp",
        "roles": ["readWrite@counterapp"],
        "mechanisms": ["SCRAM-SHA-256"],
    }
    assert secondary.call("user_info", "app", "counterapp") == info
    assert info in secondary.call("user_list")
    assert secondary.call("user_list", "counterapp") == [info]
    assert secondary.call("user_info", "nobody") is None
    assert secondary.call("user_login", "app", "secrets:mongodb_app", "counterapp") is True
    assert secondary.call("user_login", "app", "secrets:mongodb_admin", "counterapp") is False
    assert secondary.call("user_login", "nobody", "secrets:mongodb_app") is False
    with pytest.raises(CommandExecutionError, match="already exists.*code 51003"):
        secondary.call("user_create", "app", "secrets:mongodb_app", "counterapp")
    with pytest.raises(CommandExecutionError, match="RoleNotFound, code 31"):
        secondary.call("user_update_roles", "app", ["nosuch"], "counterapp")
    with pytest.raises(CommandExecutionError, match="UserNotFound, code 11"):
        secondary.call("user_update_password", "nobody", "secrets:mongodb_app")
    with pytest.raises(CommandExecutionError, match="say confirm=app"):
        secondary.call("user_remove", "app", "counterapp")
    assert secondary.call("user_remove", "app", "counterapp", confirm="app") is True
    assert secondary.call("user_exists", "app", "counterapp") is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"roles": ["nosuch"]}, "RoleNotFound, code 31"),
        ({"roles": "readWrite"}, "roles must be a list"),
        ({"roles": [{"role": "read"}]}, "is no role"),
        ({"password_pillar": "secrets:missing"}, "pillar has no text at secrets:missing"),
        ({"admin": True}, "admin: true is for the user"),
    ],
)
def test_what_cannot_be_is_said(secondary, arguments, words):
    ret = secondary.state("user_present", "app", **{**APP, **arguments})
    assert (ret["result"], ret["changes"]) == (False, {})
    assert words in ret["comment"]
    assert secondary.call("user_exists", "app", "counterapp") is False


def test_an_admin_with_another_password_is_reported_not_changed(cluster):
    primary = cluster.rs.wait_primary()
    stranger = cluster.node(primary, "stranger", admin_password="wr0ng-pa55-word")
    admin = {"password_pillar": "secrets:mongodb_admin", "roles": ["root"], "admin": True}
    for test in (True, False):
        ret = stranger.state("user_present", "admin", test=test, **admin)
        assert (ret["result"], ret["changes"]) == (False, {})
        assert "refuses the login of admin" in ret["comment"]
        assert "secrets:mongodb_admin" in ret["comment"]
        assert "wr0ng" not in ret["comment"]
    seen = stranger.call("status")
    assert (seen["initialized"], seen["authorized"], seen["state"]) == (True, False, "PRIMARY")
    assert "login refused" in seen["reason"]
    assert [member["name"] for member in seen["members"]] == cluster.names
    with pytest.raises(CommandExecutionError, match="refuses the login of admin") as refused:
        stranger.call("user_list")
    assert "Unauthorized, code 13" in str(refused.value)
    with pytest.raises(CommandExecutionError, match="refuses the login"):
        stranger.call("user_create", "x", "secrets:mongodb_app")


def test_no_password_in_returns_logs_or_errors(cluster, secondary, caplog):
    caplog.set_level(logging.NOTSET)
    for name in ("pymongo", "salt"):
        caplog.set_level(1, logger=name)
    wanted = {**APP, "roles": ["readWrite"]}
    shown = [secondary.state("user_present", "app", **wanted) for _ in range(2)]
    shown += [secondary.call(name) for name in ("status", "access", "user_list", "healthy")]
    for function, arguments in (
        ("user_create", ("app", "secrets:mongodb_app", "counterapp")),
        ("user_create", ("", "secrets:mongodb_app", "counterapp")),
        ("user_update_password", ("nobody", "secrets:mongodb_app")),
        ("user_login", ("app", "secrets:missing", "counterapp")),
    ):
        with pytest.raises(CommandExecutionError) as refused:
            secondary.call(function, *arguments)
        error = refused.value
        while error:
            shown += [str(error), repr(error), vars(error)]
            error = error.__cause__ or error.__context__
    low = cluster.node(
        cluster.rs.wait_primary(),
        "low",
        admin_password=APP_PASSWORD,
        user="app",
        auth_database="counterapp",
    )
    with pytest.raises(CommandExecutionError, match="not authorized") as refused:
        low.call("user_create", "x", "secrets:mongodb_admin")
    shown.append(str(refused.value))
    everything = caplog.text + repr(shown)
    assert APP_PASSWORD not in everything
    assert cluster.admin_password not in everything
    assert "app" in everything
