"""The WSGI application of a node, for gunicorn with the settings of ``gunicorn_conf``."""

import os

from counterapp import logs
from counterapp.app import create_app
from counterapp.settings import Settings

_settings = Settings.from_environ(os.environ)
logs.configure(_settings.log_level)
app = create_app(_settings)
