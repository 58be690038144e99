"""The Flask application with its store replaced at the store's own seam."""

import sys

import pytest
import salt._logging

from tests.support.loading import ROOT

# Salt keeps warnings for its own set-up, which never comes here, and prints them at exit.
salt._logging.shutdown_temp_handler()

sys.path.insert(0, str(ROOT / "app" / "backend" / "src"))

import werkzeug.test  # noqa: E402
from counterapp import metrics  # noqa: E402
from counterapp.app import create_app  # noqa: E402
from counterapp.settings import Settings  # noqa: E402

from tests.support.described import DescribedClient  # noqa: E402
from tests.support.memory_store import MemoryStore  # noqa: E402


@pytest.fixture
def static(tmp_path):
    """A front end as Vite leaves it, with something outside that nobody must get."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>counterapp</title>")
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "assets" / "index-abc123.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("not for you")
    return folder


@pytest.fixture
def settings(static):
    return Settings(
        mongodb_uri="mongodb://user:pw@127.0.0.1/?replicaSet=rs0",
        node="web-1",
        static=static,
        release="1.2.3",
    )


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def app(settings, store):
    app = create_app(settings, store)
    app.test_client_class = DescribedClient
    yield app
    # Its thread would go on to say of a broken store that it is broken, in all later tests.
    app.extensions["counterapp.watch"].close()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def reader(app):
    """A client of the metrics' listener."""
    return werkzeug.test.Client(app.extensions[metrics.EXTENSION])
