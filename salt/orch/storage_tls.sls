# What this was is a command of its own. Whoever gives this one is told, with exit code 1.
orch.storage_tls is a command now:
  test.fail_without_changes:
    - comment: >-
        orch.storage_tls is now `salt-run storage.switch_tls` (with test=True: what it would do; with
        restart=True: for certificates that were renewed). Nothing was changed.
