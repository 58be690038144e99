"""What is done by itself on the master: backups are made and noted, and disks are measured."""

import json

from lab.config import LabError
from tests.support.waiting import until

# Where the turns note what they have done; seconds between two of them, and for what they do.
STATE, TURN, WORK = "/var/lib/counterapp", {"backup": 300, "disks": 900}, 60


def test_the_schedule_makes_and_notes_a_backup_and_measures_disks(cluster):
    for name, seconds in TURN.items():
        found = until(
            lambda name=name: json.loads(cluster.master("cat", f"{STATE}/{name}.json")),
            seconds + WORK,
            f"a turn has written {STATE}/{name}.json",
            ignoring=(LabError, ValueError),
        )
        print(found)
    backups = cluster.runner("backup.list")
    assert "scheduled" in [each["kind"] for each in backups["backups"]], backups
    # What a turn made, and could not note.
    assert backups["unknown"] == []
