# A minion knocked: the runner accepts its key when it is the expected one, whoever says so.
{%- if data.get('act') == 'pend' %}
Look at the key that was offered:
  runner.enroll.authenticate:
    - args:
      - id: {{ data['id'] | json }}
{%- endif %}
