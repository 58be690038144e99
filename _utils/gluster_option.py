"""
Options of Gluster volumes and of the pool: what glusterd tells of them, as data, and their quirks.
"""

import difflib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Container, Iterable
from typing import Any

# glusterd walks the options of one command in order and stops at the first that it refuses, before
# anything is set anywhere. With a name behind them that no glusterd knows, all are only checked.
CHECK_ONLY = "check.only"

# What glusterd writes into new volumes by itself. Resetting the whole volume loses the last two.
_CREATED = {
    "nfs.disable": {"on"},
    "transport.address-family": {"inet", "inet6"},
    "storage.fips-mode-rchecksum": {"on"},
    "performance.client-io-threads": {"off"},
    "cluster.granular-entry-heal": {"on", "enable"},
}
# Set by commands of their own (quota, bitrot, profile, geo-replication), or free text that is not
# glusterd's and that it cannot reset one by one.
_FOREIGN = re.compile(
    r"user\..*|features\.(quota|inode-quota|quota-deem-statfs|bitrot|scrub.*)|geo-replication\..*"
    r"|changelog\.changelog|diagnostics\.(latency-measurement|count-fop-hits)"
)
_DEFAULT = " (DEFAULT)"
_TRUE = {"on", "yes", "true", "enable"}
_FALSE = {"off", "no", "false", "disable"}
_UNKNOWN = re.compile(r"[Oo]ption (: |with name: )?\S+ does not exist|Did you mean ")
# Refusals of a value that any volume would get, in the words of glusterfs' libglusterfs/options.c.
_BAD_ANYWHERE = re.compile(
    r"^invalid \w+ (format|given) |is not valid \(possible options are |not a valid boolean value"
    r"|^'.*' in 'option .*' (is|should) |is not an? (valid internet-address|absolute path)"
)


def listed(root: ElementTree.Element) -> dict[str, dict[str, Any]]:
    """Return the options from ``volume get``: ``{name: {"value", "default"}}``, in its order.

    ``value`` is text, or None for options that have none; ``default`` is what the answer marks,
    which is not all: see :func:`marked`.
    """
    found: dict[str, dict[str, Any]] = {}
    for node in root.iterfind("volGetopts/Opt"):
        value = node.findtext("Value") or ""
        default = value.endswith(_DEFAULT)
        value = value.removesuffix(_DEFAULT)
        # A name that two translators share comes twice; glusterd tells the first when asked for it.
        found.setdefault(
            node.findtext("Option", ""),
            {"value": None if value in ("", "(null)") else value, "default": default},
        )
    return found


def marked(
    found: dict[str, dict[str, Any]], reconfigured: dict[str, str], pool_wide: Container[str]
) -> dict[str, dict[str, Any]]:
    """Return a volume's own options, each marked by whether anyone set it.

    :param found: as :func:`listed` returns it for the volume. glusterd marks a default only where
        it had to look into a translator for it.
    :param reconfigured: the options in ``volume info``, which has those that were set.
    :param pool_wide: names that glusterd lists for each volume but takes for the pool alone.
    """
    own = {
        name: {**option, "default": name not in reconfigured}
        for name, option in found.items()
        if name not in pool_wide
    }
    for name, value in reconfigured.items():
        if name not in pool_wide:
            own[name] = {"value": value, "default": created(name, value)}
    return own


def created(name: str, value: str) -> bool:
    """Tell whether an option has the value that glusterd gives it when it creates a volume."""
    return value in _CREATED.get(name, ())


def creation_value(name: str) -> str | None:
    """Return what an option must be set to, since to reset it would lose it; None if it would not.

    ``volume reset`` forgets these two where it writes the others of their kind again.
    """
    return {"cluster.granular-entry-heal": "enable", "performance.client-io-threads": "off"}.get(
        name
    )


def strays(
    reconfigured: dict[str, str], declared: Container[str], pool_wide: Container[str]
) -> dict[str, str]:
    """Return the options that were set on a volume and are not declared: ``{name: value}``.

    Those are left out that glusterd sets by itself or by commands of their own (quota, bitrot,
    profile, geo-replication), those of the pool, and ``user.…``.
    """
    return {
        name: value
        for name, value in reconfigured.items()
        if name not in declared
        and name not in pool_wide
        and not created(name, value)
        and not _FOREIGN.fullmatch(name)
    }


def same(now: str | None, wanted: str) -> bool:
    """Tell whether an option's value is the wanted one, both as text; None is no value.

    glusterd keeps values as they were written, without their white space; its words for yes and no
    mean the same to it.
    """
    if now is None:
        return False
    now, wanted = ("".join(text.split()) for text in (now, wanted))
    return now == wanted or any({now, wanted} <= words for words in (_TRUE, _FALSE))


def set_words(values: dict[str, str], check_only: bool = False) -> list[str]:
    """Return the words behind ``volume set NAME`` that set these options, or only check them."""
    words = [word for pair in values.items() for word in pair]
    return [*words, CHECK_ONLY, "on"] if check_only else words


def only_checked(error: Exception) -> bool:
    """Tell whether a refusal means that all options before :data:`CHECK_ONLY` are good."""
    return f"option : {CHECK_ONLY} does not exist" in getattr(error, "errstr", "")


def not_pool_wide(error: Exception) -> bool:
    """Tell whether a refusal to tell a pool's option means that it is one of a single volume."""
    return "Not a valid option for all volumes" in getattr(error, "errstr", "")


def unknown(error: Exception) -> bool:
    """Tell whether a refusal means that glusterd has no option of that name."""
    return bool(_UNKNOWN.search(getattr(error, "errstr", "")))


def bad_anywhere(error: Exception) -> bool:
    """Tell whether a refused value is wrong for any volume, whatever its layout and state."""
    return bool(_BAD_ANYWHERE.search(getattr(error, "errstr", "")))


def manual(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options from ``volume set help-xml``: ``{name: {"default", "description"}}``.

    They are those that its authors describe; glusterd takes more, which :func:`listed` has.

    :param result: what ``cmd.run_all`` returned for it. The answer has no head as others have.
    :returns: an empty dict if there is no such answer.
    """
    try:
        root = ElementTree.fromstring(result["stdout"])
    except ElementTree.ParseError:
        return {}
    found = {}
    for node in root.iterfind("option"):
        default = node.findtext("defaultValue")
        found[node.findtext("name", "")] = {
            "default": None if default in ("", "(null)") else default,
            "description": " ".join((node.findtext("description") or "").split()),
        }
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known names most like ``name``, at most three, as text; empty if none is."""
    tail = name.rpartition(".")[2]
    near = difflib.get_close_matches(name, known, n=3)
    near += sorted(item for item in known if item.rpartition(".")[2] == tail)
    return ", ".join(list(dict.fromkeys(near))[:3])
