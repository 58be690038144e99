{%- from 'lib/cluster.jinja' import container with context %}

include:
  - base.install
  - base.hosts
{%- if not container %}
  - base.clock
{%- endif %}
