"""A bad environment is refused as a whole, by name, and without showing secrets."""

import pytest
from counterapp.settings import Settings, SettingsError, installed_release, whole_number


@pytest.fixture
def environ(static):
    return {
        "COUNTERAPP_MONGODB_URI": "mongodb://u:pw@db-1:27017,db-2:27017/?replicaSet=rs0",
        "COUNTERAPP_NODE": "web-1",
        "COUNTERAPP_STATIC": str(static),
    }


def test_the_required_variables_are_enough(environ, static):
    settings = Settings.from_environ(environ)
    assert settings.node == "web-1"
    assert settings.static == static
    assert settings.database == "counterapp"
    assert settings.release == installed_release()


def test_every_variable_is_read(environ):
    more = {
        "COUNTERAPP_DATABASE": "other",
        "COUNTERAPP_DATABASE_TIMEOUT": "2.5",
        "COUNTERAPP_READY_TIMEOUT": "1",
        "COUNTERAPP_MAX_STREAMS": "50",
        "COUNTERAPP_OPERATOR_KEY": "k" * 32,
        "COUNTERAPP_OPERATOR_KEY_ALSO": "l" * 32,
        "COUNTERAPP_BACKUPS": "/run/backups.json",
        "COUNTERAPP_LOG_LEVEL": "DEBUG",
    }
    settings = Settings.from_environ(environ | more)
    assert settings.database == "other"
    assert settings.database_timeout == 2.5
    assert settings.ready_timeout == 1.0
    assert settings.max_streams == 50
    assert settings.operator_key == "k" * 32
    assert settings.operator_key_also == "l" * 32
    assert str(settings.backups) == "/run/backups.json"
    assert settings.log_level == "DEBUG"


def test_static_is_where_the_symlink_points_now(environ, static):
    link = static.parent / "current"
    link.symlink_to(static)
    assert Settings.from_environ(environ | {"COUNTERAPP_STATIC": str(link)}).static == static


def test_all_missing_variables_are_named_at_once():
    with pytest.raises(SettingsError) as failure:
        Settings.from_environ({"COUNTERAPP_NODE": ""})
    message = str(failure.value)
    for variable in ("COUNTERAPP_MONGODB_URI", "COUNTERAPP_NODE", "COUNTERAPP_STATIC"):
        assert f"{variable} is not set" in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COUNTERAPP_MONGODB_URI", "http://db-1"),
        ("COUNTERAPP_MONGODB_URI", "mongodb://"),
        ("COUNTERAPP_MONGODB_URI", "mongodb://db-1:port/"),
        ("COUNTERAPP_MONGODB_URI", "mongodb://user:p@ss@db-1/"),
        ("COUNTERAPP_MONGODB_URI", "mongodb+srv://db.example"),
        ("COUNTERAPP_NODE", "web 1"),
        ("COUNTERAPP_NODE", "web-1\r\nX-Evil: 1"),
        ("COUNTERAPP_NODE", "$where"),
        ("COUNTERAPP_NODE", "n" * 64),
        ("COUNTERAPP_STATIC", "/nonexistent"),
        ("COUNTERAPP_DATABASE", "a/b"),
        ("COUNTERAPP_DATABASE_TIMEOUT", "0"),
        ("COUNTERAPP_DATABASE_TIMEOUT", "-1"),
        ("COUNTERAPP_DATABASE_TIMEOUT", "inf"),
        ("COUNTERAPP_READY_TIMEOUT", "soon"),
        ("COUNTERAPP_BACKUPS", "backups.json"),
        ("COUNTERAPP_LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_refused_by_name(environ, variable, value):
    with pytest.raises(SettingsError, match=f"cannot start: {variable} must be"):
        Settings.from_environ(environ | {variable: value})


def test_a_bad_connection_string_is_not_repeated(environ):
    secret = "mongodb://admin:hunter2@db-1:notaport/"
    with pytest.raises(SettingsError) as failure:
        Settings.from_environ(environ | {"COUNTERAPP_MONGODB_URI": secret})
    assert "hunter2" not in str(failure.value)
    assert "notaport" not in str(failure.value)


def test_no_secret_is_in_the_repr(environ):
    keys = ("COUNTERAPP_OPERATOR_KEY", "COUNTERAPP_OPERATOR_KEY_ALSO")
    settings = Settings.from_environ(environ | dict.fromkeys(keys, "s3cret" * 8))
    assert "pw" not in repr(settings)
    assert "s3cret" not in repr(settings)


def test_a_short_operator_key_is_refused_and_not_repeated(environ):
    with pytest.raises(SettingsError, match="COUNTERAPP_OPERATOR_KEY must have at least") as failed:
        Settings.from_environ(environ | {"COUNTERAPP_OPERATOR_KEY": "hunter2"})
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("text", ["", "0", "1025", "x", "1.5", "-1", "٣"])
def test_whole_number_refuses(text):
    with pytest.raises(ValueError, match="whole number from 1 to 1024"):
        whole_number(text)


def test_whole_number():
    assert whole_number("32") == 32
