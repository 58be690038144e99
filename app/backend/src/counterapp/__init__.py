"""counterapp: counts hits, keeps them in MongoDB, and says which node answered.

Modules, from the inside out: ``settings`` (what the environment says), ``store`` (the only one
that knows MongoDB), ``readiness`` (may traffic come here?), ``api``, ``health`` and ``frontend``
(what HTTP clients see), ``problems`` (how errors look), ``logs``, and ``app``, which puts them
together. ``wsgi`` and ``gunicorn_conf`` are what a node runs.
"""
