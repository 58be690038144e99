# The selected topology, as every minion sees it: who exists, where, with which roles.
{%- from 'selected.jinja' import topology with context %}

topology: {{ topology | json }}
