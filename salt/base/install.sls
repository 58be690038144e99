{%- from 'base/map.jinja' import packages with context %}
{%- from 'lib/cluster.jinja' import me with context %}
{%- import_yaml 'master/packages.yaml' as of_master %}
{%- if 'master' in me.roles %}
  {%- set packages = packages + of_master[grains.os_family] %}
{%- endif %}

Packages of every node are installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - pkgs: {{ packages | json }}
    - refresh: False
    - install_recommends: False
