"""
The members of a MongoDB replica set as data: how they are written, what is right of one and of all
together, and by which steps one configuration becomes another.

A member is written as ``host:port``, whose settings are then left as they are, or as a mapping of
``host`` and settings in MongoDB's own names (see ``DEFAULTS``): what is not in it has MongoDB's
default. Read, it is a *form*: a dict of ``host`` and ``settings`` (all of them, or None).

No connections here. Functions that check what somebody wrote raise ``ValueError``.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DEFAULTS: dict[str, Any] = {
    "votes": 1,
    "priority": 1,
    "hidden": False,
    "secondaryDelaySecs": 0,
    "arbiterOnly": False,
    "tags": {},
}
# What MongoDB 4.4 and older call a setting.
OLD_DELAY = "slaveDelay"
MEANT = {"delay": "secondaryDelaySecs", OLD_DELAY: "secondaryDelaySecs", "name": "host"}
MOST_MEMBERS, MOST_VOTERS, MOST_PRIORITY = 50, 7, 1000
MOST_DELAY = 366 * 24 * 3600

# The tag that the initiator carries until all members may be elected (see boot_config).
UNFINISHED = {"salt_initiation": "unfinished"}
# And the one of a member that gets its vote when it has all data.
JOINING = {"salt_joining": "unfinished"}


# Reading what somebody wrote


def forms(members: Any) -> list[dict[str, Any]]:
    """Return the form of each of ``members``; ``ValueError`` says what is wrong and what is right.

    Whether hosts have ports, and none is there twice, is for ``mongodb.check_members``.
    """
    if isinstance(members, (str, Mapping)) or not isinstance(members, Sequence) or not members:
        raise ValueError(
            f"members must be a list of host:port or of mappings with a host, not {members!r}"
        )
    found = [form(member) for member in members]
    known = {each["host"]: each["settings"] for each in found if each["settings"] is not None}
    check_together(known, whole=len(known) == len(found), count=len(found))
    return found


def form(member: Any) -> dict[str, Any]:
    """Return the form of a member as somebody wrote it; ``ValueError`` has the right way."""
    if not isinstance(member, Mapping):
        return {"host": member, "settings": None}
    if not isinstance(member.get("host"), str):
        _refuse_unknown(member)
        raise ValueError(f"{_yaml(member)} names no host: write {{host: db-1:27017, …}}")
    host = member["host"]
    _refuse_unknown(member)
    settings = {**DEFAULTS, **{key: value for key, value in member.items() if key != "host"}}
    _check_types(host, settings)
    if settings["arbiterOnly"] and settings["priority"] == 1:
        # The server has it so itself.
        settings["priority"] = 0
    if wrong := _wrong(settings):
        why, repair = wrong
        # What it is anyway needs not be written.
        idle = [key for key, value in repair.items() if value == DEFAULTS[key]]
        right = {key: each for key, each in {**member, **repair}.items() if key not in idle}
        raise ValueError(f"{host}: {why}: write {_yaml({**right, 'host': host})}")
    return {"host": host, "settings": settings}


def _refuse_unknown(member: Mapping[str, Any]) -> None:
    names = ["host", *DEFAULTS]
    for key in member:
        if key in names:
            continue
        lower = {name.lower(): name for name in names}
        near = difflib.get_close_matches(str(key).lower(), lower, 1, 0.6)
        within = [name for name in names if str(key).lower() in name.lower()]
        meant = MEANT.get(key) or (lower[near[0]] if near else next(iter(within), None))
        remedy = f"write {meant}" if meant else f"there are {', '.join(names)}"
        raise ValueError(f"{_yaml(member)} has the unknown key {key}: {remedy}")


def _check_types(host: str, settings: Mapping[str, Any]) -> None:
    def number(value: Any, kinds: tuple[type[int] | type[float], ...], most: int) -> bool:
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return 0 <= float(value) <= most

    tags = settings["tags"]
    wanted = {
        "votes": (number(settings["votes"], (int,), 1), "0 or 1"),
        "priority": (
            number(settings["priority"], (int, float), MOST_PRIORITY),
            f"a number from 0 to {MOST_PRIORITY}",
        ),
        "hidden": (isinstance(settings["hidden"], bool), "true or false"),
        "secondaryDelaySecs": (
            number(settings["secondaryDelaySecs"], (int,), MOST_DELAY),
            f"whole seconds from 0 to {MOST_DELAY}",
        ),
        "arbiterOnly": (isinstance(settings["arbiterOnly"], bool), "true or false"),
        "tags": (
            isinstance(tags, Mapping)
            and all(isinstance(word, str) for pair in tags.items() for word in pair),
            "a mapping of texts, e.g. {rack: a}",
        ),
    }
    for key, (right, what) in wanted.items():
        if not right:
            raise ValueError(f"{host}: {key} is {settings[key]!r}: write {what}")


def _wrong(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return what cannot be together in one member, and the settings that mend it."""
    delayed = settings["secondaryDelaySecs"] > 0
    if settings["arbiterOnly"]:
        for key in ("hidden", "secondaryDelaySecs", "tags"):
            if settings[key]:
                return f"an arbiter holds no data, so {key} is not for it", {key: DEFAULTS[key]}
        if settings["votes"] != 1:
            return "an arbiter is there for its vote", {"votes": 1}
        if settings["priority"]:
            return "an arbiter cannot be elected, so its priority is 0", {"priority": 0}
        return None
    if settings["priority"]:
        hidden = {"hidden": True} if delayed else {}
        for is_so, who in (
            (settings["votes"] == 0, "a member without a vote"),
            (delayed, "a delayed member"),
            (settings["hidden"], "a hidden member"),
        ):
            if is_so:
                return f"{who} cannot be elected", {"priority": 0, **hidden}
    if delayed and not settings["hidden"]:
        return "clients would read what is old from a delayed member", {"hidden": True}
    return None


def check_together(
    settings: Mapping[str, Mapping[str, Any]], whole: bool = True, count: int | None = None
) -> None:
    """Raise ``ValueError`` where members cannot be a set together.

    :param settings: by host, of those whose settings are known.
    :param whole: these are all.
    :param count: how many there are.
    """
    count = len(settings) if count is None else count
    if count > MOST_MEMBERS:
        raise ValueError(f"{count} members are more than the {MOST_MEMBERS} that a set can have")
    voters = [host for host, each in settings.items() if each["votes"]]
    if len(voters) > MOST_VOTERS:
        right = _yaml({"host": voters[-1], "votes": 0, "priority": 0})
        raise ValueError(
            f"{len(voters)} members have a vote, and a set has {MOST_VOTERS} votes at most: write"
            f" {right}, and the like for each one more"
        )
    arbiters = [host for host, each in settings.items() if each["arbiterOnly"]]
    if len(arbiters) > 1:
        raise ValueError(
            f"{' and '.join(arbiters)} are arbiters: one is enough, for with more of them what a"
            " majority has acknowledged can be lost"
        )
    if whole and not any(each["priority"] for each in settings.values()):
        raise ValueError(
            "no member could be elected: one at least needs a priority above 0, and with it a vote"
        )


def _yaml(value: Any) -> str:
    """Return a value as it is written in YAML, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


# Configurations: the documents that servers have


def settings_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a member of a configuration document."""
    found = {key: entry.get(key, default) for key, default in DEFAULTS.items()}
    found["secondaryDelaySecs"] = entry.get("secondaryDelaySecs", entry.get(OLD_DELAY, 0))
    found["tags"] = dict(found["tags"] or {})
    return found


def is_joining(entry: Mapping[str, Any]) -> bool:
    """Return whether a member of a configuration document waits for its vote."""
    return all(settings_of(entry)["tags"].get(tag) == word for tag, word in JOINING.items())


def differing(
    config: Mapping[str, Any], wanted: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by host what has to change: ``{setting: {old, new}}``.

    :param wanted: forms; those without settings, and those that are no members yet or wait for
        their vote, have no part.
    """
    now = _by_host(entry for entry in config["members"] if not is_joining(entry))
    found = {}
    for each in wanted:
        if each["settings"] is None or each["host"] not in now:
            continue
        old = now[each["host"]]
        changes = {
            key: {"old": old[key], "new": new}
            for key, new in each["settings"].items()
            if old[key] != new
        }
        if changes:
            found[each["host"]] = changes
    return found


def adding(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the configuration with one member more, or None when it is one.

    It has no vote at first and cannot be elected, so that it counts for no majority before it has
    the data; :func:`admitting` ends that. An arbiter waits for no data.
    """
    present = config["members"]
    if any(entry["host"] == wanted["host"] for entry in present):
        return None
    final = wanted["settings"] or DEFAULTS
    # With its vote, for whether it may have it is to be known before it copies anything.
    check_together(
        {**_by_host(present), wanted["host"]: final}, whole=False, count=len(present) + 1
    )
    settings = dict(final)
    if not final["arbiterOnly"]:
        settings.update(votes=0, priority=0, tags={**final["tags"], **JOINING})
    number = max(entry["_id"] for entry in present) + 1
    entry = {"_id": number, "host": wanted["host"], **_named(settings, present)}
    return {**config, "members": [*present, entry]}


def admitting(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the configuration with a member that was added as it shall be, None where it is."""
    entry = next((each for each in config["members"] if each["host"] == wanted["host"]), None)
    if entry is None or not is_joining(entry):
        return None
    return _with(config, wanted["host"], wanted["settings"] or DEFAULTS)


def removing(config: Mapping[str, Any], host: str) -> dict[str, Any] | None:
    """Return the configuration without a member, or None when it is none."""
    kept = [entry for entry in config["members"] if entry["host"] != host]
    if len(kept) == len(config["members"]):
        return None
    check_together(_by_host(kept))
    return {**config, "members": kept}


def step(
    config: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]], primary: str | None
) -> dict[str, Any] | None:
    """Return the next configuration on the way to ``wanted``: it differs in one member.

    So at most one vote changes at a time, which is what MongoDB allows, and each one on the way is
    right by itself.

    :return: None when nothing is left to do.
    :raises ValueError: nothing that is left can be done; the sentence says why, and what may help.
    """
    left = differing(config, wanted)
    forms_by_host = {each["host"]: each["settings"] for each in wanted}
    refusals = []
    for host, changes in left.items():
        if "arbiterOnly" in changes:
            what = "an arbiter" if changes["arbiterOnly"]["new"] else "a member with data"
            raise ValueError(
                f"{host} cannot become {what} where it stands: take it out"
                f" (mongodb.remove_member {host} confirm={host}), empty its data folder, and add it"
                " again"
            )
        if host == primary and not forms_by_host[host]["priority"]:
            refusals.append(
                f"{host} is the primary, which has to be electable: let it step down first"
                " (mongodb.step_down on its node)"
            )
            continue
        result = _with(config, host, forms_by_host[host])
        try:
            check_together(_by_host(result["members"]))
        except ValueError as err:
            refusals.append(f"{host} cannot change yet: {err}")
            continue
        return result
    if refusals:
        raise ValueError("; ".join(refusals))
    return None


def blocked(
    config: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]], primary: str | None
) -> str | None:
    """Return why ``wanted`` cannot be reached from a configuration, new members first, or None."""
    now: dict[str, Any] | None = dict(config)
    try:
        for each in wanted:
            assert now is not None
            now = adding(now, each) or now
            now = admitting(now, each) or now
        while now is not None:
            now = step(now, wanted, primary)
    except ValueError as err:
        return str(err)
    return None


def _by_host(entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["host"]: settings_of(entry) for entry in entries}


def _with(config: Mapping[str, Any], host: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    present = config["members"]
    named = _named(settings, present)
    return {
        **config,
        "members": [{**entry, **named} if entry["host"] == host else entry for entry in present],
    }


def _named(settings: Mapping[str, Any], present: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return settings by the names that the server with these members has for them."""
    named = dict(settings)
    if any(OLD_DELAY in entry for entry in present):
        named[OLD_DELAY] = named.pop("secondaryDelaySecs")
    return named


# The beginning


def boot_config(name: str, members: Iterable[Mapping[str, Any]], own: str) -> dict[str, Any]:
    """Return the configuration that a set starts its life with.

    Only the initiator may become primary in it, so that the first user can be created there,
    and it need not wait for the usual ten seconds. :func:`final_config` ends that.

    :param members: forms.
    :raises ValueError: the initiator is declared as one that cannot be elected.
    """
    entries = []
    for number, each in enumerate(members):
        settings = each["settings"] or DEFAULTS
        entry: dict[str, Any] = {"_id": number, "host": each["host"]}
        if each["host"] != own:
            entry.update(_beyond_defaults(settings), priority=0)
        elif settings["priority"]:
            entry.update(priority=1, tags=UNFINISHED)
        else:
            raise ValueError(
                f"{own} cannot be elected as it is declared: have another member initiate the set"
            )
        entries.append(entry)
    return {"_id": name, "members": entries, "settings": {"electionTimeoutMillis": 1000}}


def final_config(
    name: str,
    version: int,
    present: Iterable[Mapping[str, Any]],
    members: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the configuration in which members are as they are declared.

    :param present: those of the set, with ``id`` and ``name``.
    :param members: forms.
    """
    declared = {each["host"]: each["settings"] or DEFAULTS for each in members}
    return {
        "_id": name,
        "version": version,
        "members": [
            {
                "_id": member["id"],
                "host": member["name"],
                **_beyond_defaults(declared.get(member["name"], DEFAULTS)),
            }
            for member in present
        ],
    }


def _beyond_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not MongoDB's own: an older server knows another name of one."""
    return {key: value for key, value in settings.items() if value != DEFAULTS[key]}
