{%- from 'lib/require.jinja' import require_family with context %}
{%- from 'lib/cluster.jinja' import me with context %}
{%- import_yaml 'web/packages.yaml' as packages_by_family %}
{{- require_family(packages_by_family, 'web') }}

The interpreter of the releases is installed:
  pkg.installed:
    - fire_event: {{ pillar.get('fire_event', False) }}
    - pkgs: {{ packages_by_family[grains.os_family] | json }}
    - refresh: False
    - install_recommends: False
