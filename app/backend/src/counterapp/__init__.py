"""counterapp: counts hits exactly, keeps them in MongoDB, and says which node answered.

Modules, from the inside out:

- ``settings`` (what the environment says) and ``logs``, which go to ``output``;
- ``counters`` (what counters are, and what a store of them can do) and ``history`` (their past);
- the store: ``mongo``, with ``documents``, ``driver``, ``batches`` and ``combiner``; ``readiness``
  (may traffic come here?) and ``watch`` (who waits for changes);
- what HTTP clients see: ``v1`` (with ``inputs``, ``access``, ``shapes``, ``transfer``,
  ``operators`` and ``openapi``), ``compat`` and ``countapi`` (with ``family``, ``dialects``,
  ``params``, ``places``, ``creation``, ``answers`` and ``shields``), ``badges`` (with ``drawing``,
  ``letters`` and ``colours``), ``stream``, ``health``, ``metrics`` (with ``backups``) and
  ``frontend``; ``admin`` (keys) and ``problems`` (how errors look);
- around every request: ``clients`` and ``limits``, ``frame``, ``cors`` and ``shortcut``; and
  ``app``, which puts all together.

``wsgi`` and the ``gunicorn_*`` modules are what a node runs.
"""
