"""Run on the master: Salt's own client kept open, one question a line, both ways in JSON.

Starting ``salt`` takes a second of CPU, and tests that wait ask again and again.
"""

import json
import sys

import salt.client
import salt.exceptions
import salt.utils.args


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    client = salt.client.LocalClient()
    for line in sys.stdin:
        target, kind, function, words = json.loads(line)
        arguments = salt.utils.args.parse_input(words)
        try:
            # Who is up answers a ping at once; the master's patience is for jobs that take long.
            patience = {"timeout": 3, "gather_job_timeout": 3} if function == "test.ping" else {}
            found = client.cmd(
                target, function, arguments, tgt_type=kind, full_return=True, **patience
            )
            # Of a silent minion there is nothing, or a note that there was nothing.
            told = {minion: each for minion, each in found.items() if each and "jid" in each}
            answer = {"return": {minion: each["ret"] for minion, each in told.items()}}
        except salt.exceptions.SaltException as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
