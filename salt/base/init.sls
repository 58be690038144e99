{%- from 'lib/cluster.jinja' import container with context %}

include:
  - base.install
  - base.hosts
  - base.watch
{%- if not container %}
  - base.clock
{%- endif %}
