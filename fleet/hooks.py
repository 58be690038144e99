"""
Hooks: whom a change tells before it, after it, and on failure.

They stand in the pillar, and each is a command of the master or a webhook::

    rollout:
      hooks:
        before:
          - command: [/usr/local/sbin/announce, --quiet]
            timeout: 30
        failure:
          - webhook: https://example.org/counterapp
            secret_file: /etc/salt/counterapp/webhook.secret

A command is an argument list, never a shell's line; it gets the change's line of the history as
JSON on its standard input, and COUNTERAPP_HOOK says which of the three it is. A webhook gets the
same as the body of a POST, with X-Counterapp-Hook, and X-Counterapp-Signature: `sha256=` and the
HMAC of the body with the content of the secret's file, white space around it left out.

A hook that fails is told and noted in the change's journal, and breaks nothing.
"""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from fleet.change import Change, Hook
from fleet.errors import FleetError, refuse, sentences

MOMENTS = ("before", "after", "failure")
#: Seconds that a command may take, and each try of a webhook; ``timeout`` of the hook changes it.
COMMAND_TIMEOUT, WEBHOOK_TIMEOUT = 30.0, 5.0
#: How often a webhook is tried, and seconds between the first two; twice as long after each.
TRIES, PAUSE = 3, 1.0
SIGNATURE, MOMENT = "X-Counterapp-Signature", "X-Counterapp-Hook"
_KEYS = {"command": {"command", "timeout"}, "webhook": {"webhook", "secret_file", "timeout"}}


def problems(settings: Mapping[str, Any]) -> list[str]:
    """
    Return a sentence for everything that is wrong with ``hooks`` of the settings ``rollout``.

    Secrets' files are looked at as well, and named; what is in them is never told.
    """
    hooks = settings.get("hooks")
    if hooks is None:
        return []
    if not isinstance(hooks, dict):
        return [f"rollout:hooks is a mapping of {', '.join(MOMENTS)}, not {hooks!r}"]
    found = [
        f"rollout:hooks has no {moment!r}: use {', '.join(MOMENTS)}"
        for moment in hooks
        if moment not in MOMENTS
    ]
    for moment in MOMENTS:
        listed = hooks.get(moment) or []
        if not isinstance(listed, list):
            found.append(f"rollout:hooks:{moment} is a list of hooks: write each as an item of it")
            continue
        for number, entry in enumerate(listed, 1):
            where = f"rollout:hooks:{moment}, number {number}"
            found += [f"{where}: {words}" for words in _wrong(entry)]
    return found


def _wrong(entry: Any) -> Iterator[str]:
    kinds = [kind for kind in _KEYS if isinstance(entry, dict) and kind in entry]
    if len(kinds) != 1:
        yield "write either `command: [PROGRAM, ARGUMENT]` or `webhook: URL`"
        return
    for key in entry.keys() - _KEYS[kinds[0]]:
        yield f"a {kinds[0]} has no {key!r}: use {', '.join(sorted(_KEYS[kinds[0]]))}"
    timeout = entry.get("timeout", 1)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        yield f"timeout must be a number of seconds, not {timeout!r}"
    if kinds == ["command"]:
        yield from _wrong_command(entry["command"])
    else:
        yield from _wrong_webhook(entry)


def _wrong_command(words: Any) -> Iterator[str]:
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        yield f"command must be a list of texts, the program first, not {words!r}"
    elif not words[0].startswith("/"):
        yield f"give the program's whole path, not {words[0]!r}"
    elif not os.access(words[0], os.X_OK):
        yield f"there is no program {words[0]} on this master: install it, or mend the path"


def _wrong_webhook(entry: dict[str, Any]) -> Iterator[str]:
    url = urlsplit(entry["webhook"]) if isinstance(entry["webhook"], str) else None
    if url is None or url.scheme not in ("https", "http") or not url.hostname:
        yield "webhook must be the URL to post to, as https://example.org/path"
    elif url.username or url.password:
        yield "a webhook's URL has no user or password in it: what is sent is signed"
    path = entry.get("secret_file")
    if not isinstance(path, str) or not path.startswith("/"):
        yield f"secret_file must be the whole path of a file on the master, not {path!r}"
        return
    try:
        _secret(path)
    except (FleetError, OSError) as error:
        yield from sentences(error)


def _secret(name: str) -> bytes:
    path = Path(name)
    if path.stat().st_mode & 0o077:
        raise FleetError(f"{name} can be read by others than its owner: chmod 600 {name}")
    secret = path.read_bytes().strip()
    if len(secret) < 16:
        raise FleetError(f"{name} must have 16 characters or more in it")
    return secret


def hook(settings: Mapping[str, Any], change: Change) -> Hook:
    """
    Return what a change has to call before it, after it and on failure.

    settings
        The settings ``rollout`` of the pillar, of which ``hooks`` is used.
    change
        Is told each hook that fails, as the event ``hook`` with ``hook``, ``moment`` and
        ``reason``; so is its journal.

    What is returned raises nothing for a hook that fails.

    Raises FleetError with a sentence for each thing that is wrong with the settings.
    """
    refuse(problems(settings))

    def call(moment: str, entry: dict[str, Any]) -> None:
        for each in (settings.get("hooks") or {}).get(moment) or []:
            name = each["command"][0] if "command" in each else urlsplit(each["webhook"]).hostname
            facts = {"hook": name, "moment": moment}
            try:
                run(each, moment, entry)
            except (FleetError, OSError, ValueError, subprocess.SubprocessError) as error:
                facts["reason"] = "; ".join(sentences(error))
                change.tell("hook", **facts)
            change.journal.write("hook", **facts)

    return call


def run(entry: Mapping[str, Any], moment: str, line: Mapping[str, Any]) -> None:
    """
    Run one hook.

    entry
        The hook, as in the settings.
    moment
        ``before``, ``after`` or ``failure``.
    line
        The change's line of the history.

    Raises FleetError, OSError or ValueError when it fails.
    """
    body = json.dumps(line).encode()
    if "command" in entry:
        _command(entry["command"], moment, body, entry.get("timeout", COMMAND_TIMEOUT))
    else:
        _post(entry, moment, body)


def _command(words: list[str], moment: str, body: bytes, timeout: float) -> None:
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "COUNTERAPP_HOOK": moment},
        cwd="/",
        # What it has started ends with it.
        start_new_session=True,
    ) as process:
        try:
            _, said = process.communicate(body + b"\n", timeout)
        except subprocess.TimeoutExpired:
            raise FleetError(f"not done within {timeout:g} s, so it was ended") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        last = (said.decode(errors="replace").strip().splitlines() or [""])[-1][:200]
        raise FleetError(f"it ended with {process.returncode}{': ' if last else ''}{last}")


def _post(entry: Mapping[str, Any], moment: str, body: bytes) -> None:
    digest = hmac.new(_secret(entry["secret_file"]), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        SIGNATURE: f"sha256={digest}",
        MOMENT: moment,
    }
    pause = PAUSE
    for left in range(TRIES - 1, -1, -1):
        try:
            answer = requests.post(
                entry["webhook"],
                data=body,
                headers=headers,
                timeout=entry.get("timeout", WEBHOOK_TIMEOUT),
                allow_redirects=False,
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            reason = f"{type(error).__name__}: no answer"
        else:
            if answer.ok and not answer.is_redirect:
                return
            reason = f"it answered {answer.status_code} {answer.reason}"
            if answer.status_code < 500 and answer.status_code != 429:
                raise FleetError(reason)
        if left:
            time.sleep(pause)
            pause *= 2
    raise FleetError(f"{reason}, {TRIES} times")
