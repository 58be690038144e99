"""
The language of GlusterFS: how its command line is run, and what it answers, as typed data.

But for :func:`run`, which runs a command that it is given, every function turns data into data, so
that each can be tested on answers recorded from real daemons. Written against glusterfs 10 and 11,
whose XML is the same.
"""

import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import salt.exceptions
import salt.utils.path

POLL_SECONDS = 0.5

# glusterd's own error numbers (its EG_* range): another command holds the lock, no such volume.
ERRNO_LOCKED = 30802
ERRNO_NO_VOLUME = 30806
# The shell's exit code for a command that is not there.
NO_COMMAND = 127
# `peer probe` succeeds with these in opErrno when there was nothing to do.
PROBE_OF_SELF = 1
PROBE_OF_PEER = 2

IN_CLUSTER = "Peer in Cluster"

# What `peer status` answers as long as glusterd does not know the UUID of a host that it, or
# another member of the pool, is probing: no words, and this opRet.
UNKNOWN_UUID = "-22"
PROBING = "glusterd lists no peers while one is being probed that has not answered yet"

# Over TLS a question to another node's glusterd is lost now and then, and the next one is heard: of
# 800 with glusterfs 10.3 (and none of 800 to a node's own) five were refused at once, and four had
# no answer for as long as they waited, which is two minutes without an option. Answers take 0.1 s.
REMOTE = "--remote-host="
REMOTE_SECONDS = 10
REMOTE_TRIES = 3

# The last is all that `volume get all` says when its question to the peers finds the lock taken; of
# a bad name or volume it says more.
_LOCKED = re.compile(
    r"Another transaction (is|could be) in progress|^Locking failed on |^volume get option: failed$"
)
# By add-brick, replace-brick, remove-brick's start and commit, rebalance, and a volume's stop.
_MIGRATING = re.compile(
    r"\b(rebalance( session)?|migration) is in progress|\bRebalance on \S+ is already started",
    re.IGNORECASE,
)
# What one member says of another, as against what the glusterd that was asked says by itself; in
# either way that glusterd has of putting a command to the others.
_NOT_MET = re.compile(
    r"^(Staging|Pre Validation) failed on \S+\. (Error: )?"
    r"(Host \S+ (is )?not (connected|in 'Peer in Cluster' state)|Some of the peers are down)"
)


class GlusterError(salt.exceptions.CommandExecutionError):
    """A refusal in glusterd's own words.

    :ivar errno: glusterd's number (its ``opErrno``), or the exit code if it did not answer; 0 for
        refusals that the command line makes on its own.
    :ivar errstr: its words without our prefix.
    :ivar answered: False if glusterd was not reached at all: not installed, or not running.
    """

    def __init__(self, command: str, errno: int | None, errstr: str, answered: bool = True) -> None:
        super().__init__(f"{command}: {errstr}" + (f" ({errno})" if errno else ""))
        self.errno = errno
        self.errstr = errstr
        self.answered = answered


def command(words: Sequence[str], text: bool = False) -> list[str]:
    """Return the argument list that runs ``gluster`` with ``words``, answering in XML or text."""
    options = [] if text else ["--xml"]
    if words[0].startswith(REMOTE):
        options.append(f"--timeout={REMOTE_SECONDS}")
    return ["gluster", "--mode=script", *options, *words]


def at(host: str) -> str:
    """Return the word, to stand first in a command, that has the glusterd of ``host`` asked.

    glusterd lets any host ask it questions, and change nothing.
    """
    return f"{REMOTE}{host}"


def run(
    words: Sequence[str], cmd: Callable[..., dict[str, Any]], patience: float, text: bool = False
) -> ElementTree.Element | str:
    """Run one ``gluster`` command, again while others are in its way; return its parsed answer.

    :param words: what stands behind ``gluster`` on the command line.
    :param cmd: the loader's ``cmd.run_all``, which a utility module cannot reach by itself.
    :param patience: seconds to repeat a command that meets another one holding glusterd's lock, a
        rebalance that just begins or ends, a probe of a host that has not answered yet, or members
        of the pool that have not met. However short, a question to another node's glusterd that
        got lost is asked again.
    :param text: for the few commands that know no XML: return what they printed, see :func:`said`.
    :raises CommandExecutionError: as :func:`reply` does, and without the command itself.
    """
    if not salt.utils.path.which(command(words)[0]):
        missing = "the gluster command is missing: install glusterfs-server (or glusterfs-cli)"
        reply(words, {"stdout": "", "stderr": missing, "retcode": NO_COMMAND})
    for last in attempts(patience):
        try:
            return _ask(words, cmd, text)
        except GlusterError as error:
            passing = locked(error) or turning(error) or probing(error) or meeting(error)
            if last or not (passing or (lingering(error) and not migrating(words[2], cmd))):
                raise
    raise AssertionError("attempts() ends with a last one")


def _ask(
    words: Sequence[str], cmd: Callable[..., dict[str, Any]], text: bool
) -> ElementTree.Element | str:
    argv = command(words, text)
    for attempt in range(1, REMOTE_TRIES + 1):
        result = cmd(argv, python_shell=False, ignore_retcode=True)
        try:
            return said(words, result) if text else reply(words, result)
        except GlusterError as error:
            if attempt == REMOTE_TRIES or not unheard(words, error):
                raise
    raise AssertionError("the last attempt returns or raises")


def migrating(volume: str, cmd: Callable[..., dict[str, Any]]) -> bool:
    """Tell whether a rebalance or remove-brick of a volume is under way, as far as glusterd knows.

    False too if glusterd does not tell: then what comes next is refused, in better words.

    This asks no process that does the work, as ``rebalance status`` does. One that is asked as it
    ends may be called "in progress" for ever: where its answer crosses its last report, glusterd
    11.1 takes the older for the newer.

    :param cmd: the loader's ``cmd.run_all``.
    """
    words = ["volume", "status", volume, "tasks"]
    try:
        answer = reply(words, cmd(command(words), python_shell=False, ignore_retcode=True))
    except GlusterError:
        return False
    return any("in progress" in (text.text or "") for text in answer.iterfind(".//task/statusStr"))


def succeed(argv: Sequence[str], cmd: Callable[..., dict[str, Any]]) -> None:
    """Run a command that is none of ``gluster``'s, such as a mount, and expect it to succeed.

    :param cmd: the loader's ``cmd.run_all``.
    :raises CommandExecutionError: with the command, its words and its exit code, if that is not 0.
    """
    result = cmd(list(argv), python_shell=False, ignore_retcode=True)
    if result["retcode"]:
        words = " ".join((result["stderr"] or result["stdout"]).split())
        raise salt.exceptions.CommandExecutionError(
            f"{' '.join(argv)}: {words} ({result['retcode']})"
        )


def attempts(timeout: float, pause: float = POLL_SECONDS) -> Iterator[bool]:
    """Yield False for each attempt within ``timeout`` seconds and True for one last after them.

    For loops that wait for a condition: it is looked at once at least, also with a timeout of 0.
    """
    deadline = time.monotonic() + float(timeout)
    while time.monotonic() < deadline:
        yield False
        time.sleep(pause)
    yield True


def failed(ret: dict[str, Any], error: Exception, test: bool) -> dict[str, Any]:
    """Return a state's ``ret`` as that of a run which ended in ``error``.

    :param test: whether it is a dry run. On a bare node, where an earlier state of the same run
        would install glusterd, such a one cannot tell: its result is None.
    """
    if test and not getattr(error, "answered", True):
        ret["result"] = None
        ret["comment"] = f"Cannot be told before glusterd runs: {error}"
    else:
        ret["result"] = False
        ret["comment"] = str(error)
    return ret


def reply(words: Sequence[str], result: dict[str, Any]) -> ElementTree.Element:
    """Return the parsed XML answer to a command, as an ``ElementTree`` root.

    :param words: the words given to :func:`command`; they name the command in errors.
    :param result: what ``cmd.run_all`` returned for it.
    :raises CommandExecutionError: with glusterd's words and number (attributes ``errstr`` and
        ``errno``) if it refused or could not be reached. The exit code alone says nothing: most
        refusals leave it at 0.
    """
    label = " ".join(["gluster", *words])
    try:
        root = ElementTree.fromstring(result["stdout"])
    except ElementTree.ParseError:
        text = " ".join((result["stderr"] or result["stdout"] or "no answer").split())
        answered = result["retcode"] != NO_COMMAND and not text.startswith("Connection failed")
        raise GlusterError(label, result["retcode"], text, answered) from None
    if _number(root.findtext("opRet")) != 0:
        errstr = root.findtext("opErrstr") or root.findtext("output") or "refused without a reason"
        if tuple(words[-2:]) == ("peer", "status") and root.findtext("opRet") == UNKNOWN_UUID:
            errstr = PROBING
        raise GlusterError(label, _number(root.findtext("opErrno")), " ".join(errstr.split()))
    return root


def said(words: Sequence[str], result: dict[str, Any]) -> str:
    """Return the text that a command without XML printed.

    :raises CommandExecutionError: with that text if it failed, which its exit code tells; as
        glusterd's number there is only that code.
    """
    if result["retcode"] == 0:
        return str(result["stdout"])
    text = " ".join(f"{result['stdout']} {result['stderr']}".split()) or "no answer"
    answered = result["retcode"] != NO_COMMAND and "Connection failed" not in text
    raise GlusterError(" ".join(["gluster", *words]), result["retcode"], text, answered)


def locked(error: Exception) -> bool:
    """Tell whether ``error`` only means that another command holds glusterd's lock right now."""
    return getattr(error, "errno", None) == ERRNO_LOCKED or bool(
        _LOCKED.search(getattr(error, "errstr", ""))
    )


def turning(error: Exception) -> bool:
    """Tell whether glusterd asked the process of a rebalance just as that began or ended."""
    return "brick op 'Rebalance' failed" in getattr(error, "errstr", "")


def lingering(error: Exception) -> bool:
    """Tell whether glusterd refused because it sees a process that moves a volume's data.

    It may be one whose work is over: glusterd calls the work stopped or completed, and goes on to
    refuse what must not meet it, until the process has ended on each node. A stopped one first
    moves to its end what it has in hand. The volume's tasks tell whether the work itself goes on.
    """
    return bool(_MIGRATING.search(getattr(error, "errstr", "")))


def probing(error: Exception) -> bool:
    """Tell whether a peer is being probed: glusterd lists none while it lacks the UUID of one."""
    return getattr(error, "errstr", "") == PROBING


def meeting(error: Exception) -> bool:
    """Tell whether a member of the pool has not met another one yet, which is new or was restarted.

    Who was just probed lets in whom it knows, and has to be told of the others first; who was
    turned away tries again after 3 s (seen with glusterd 10.3). A host that is down is told by the
    glusterd that was asked itself, in other words.
    """
    return bool(_NOT_MET.search(getattr(error, "errstr", "")))


def unheard(words: Sequence[str], error: GlusterError) -> bool:
    """Tell whether ``words`` asked another node's glusterd, and the question may have got lost."""
    silent = not error.answered or error.errstr == "Error : Request timed out"
    return words[0].startswith(REMOTE) and silent


def probe(root: ElementTree.Element) -> dict[str, Any]:
    """Return what ``peer probe`` did: ``{"added": bool, "words": str}``."""
    nothing_done = _number(root.findtext("opErrno")) in (PROBE_OF_SELF, PROBE_OF_PEER)
    return {"added": not nothing_done, "words": (root.findtext("output") or "").strip()}


def peers(root: ElementTree.Element) -> list[dict[str, Any]]:
    """Return the other members of the pool from ``peer status``, sorted by host name.

    Each is ``{"hostname", "names", "uuid", "connected", "state", "ready"}``; ``names`` are all
    names and addresses that glusterd knows it by; ``ready`` means connected and a full member,
    which a freshly probed peer is not at once.
    """
    found = []
    for node in root.iterfind("peerStatus/peer"):
        hostname = node.findtext("hostname")
        names = [name.text for name in node.iterfind("hostnames/hostname")]
        connected = node.findtext("connected") == "1"
        state = node.findtext("stateStr") or ""
        found.append(
            {
                "hostname": hostname,
                "names": names or [hostname],
                "uuid": node.findtext("uuid"),
                "connected": connected,
                "state": state,
                "ready": connected and state == IN_CLUSTER,
            }
        )
    return sorted(found, key=lambda peer: peer["hostname"])


def volumes(root: ElementTree.Element) -> list[str]:
    """Return the volume names from ``volume list``."""
    return [node.text or "" for node in root.iterfind("volList/volume")]


def info(root: ElementTree.Element) -> dict[str, Any] | None:
    """Return the volume in ``volume info NAME``, None without one; ``gluster.info`` tells more."""
    node = root.find("volInfo/volumes/volume")
    if node is None:
        return None
    return {
        "name": node.findtext("name"),
        "id": node.findtext("id"),
        "type": node.findtext("typeStr"),
        "status": node.findtext("statusStr"),
        "started": node.findtext("statusStr") == "Started",
        "distribute": _number(node.findtext("distCount")),
        "replica": _number(node.findtext("replicaCount")),
        "arbiter": _number(node.findtext("arbiterCount")),
        "disperse": _number(node.findtext("disperseCount")),
        "redundancy": _number(node.findtext("redundancyCount")),
        "bricks": [
            {
                **_brick(item.findtext("name", "")),
                "uuid": item.findtext("hostUuid"),
                "arbiter": item.findtext("isArbiter") == "1",
            }
            for item in node.iterfind("bricks/brick")
        ],
        "options": {
            option.findtext("name"): option.findtext("value") or ""
            for option in node.iterfind("options/option")
        },
    }


def status(root: ElementTree.Element, volume: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return ``{"bricks": [...], "daemons": [...]}`` of a started volume from ``volume status``.

    :param root: the answer to ``volume status NAME`` or ``volume status NAME detail``; only the
        second carries sizes, only the first the daemons.
    :param volume: the volume as :func:`info` returns it. glusterd leaves out the bricks of nodes it
        cannot reach; here each brick of the volume is listed.
    """
    running, daemons = {}, []
    for node in root.iterfind("volStatus/volumes/volume/node"):
        entry = {
            "online": node.findtext("status") == "1",
            "port": _number(node.findtext("port")),
            "pid": _number(node.findtext("pid")),
        }
        if entry["pid"] == -1:
            entry["pid"] = None
        if (node.findtext("path") or "").startswith("/"):
            for key, tag in (
                ("size_total", "sizeTotal"),
                ("size_free", "sizeFree"),
                ("inodes_total", "inodesTotal"),
                ("inodes_free", "inodesFree"),
            ):
                if node.find(tag) is not None:
                    entry[key] = _number(node.findtext(tag))
            running[node.findtext("peerid"), node.findtext("path")] = entry
        else:
            daemons.append(
                {"daemon": node.findtext("hostname"), "uuid": node.findtext("peerid"), **entry}
            )
    absent = {"online": False, "port": None, "pid": None}
    bricks = [
        {
            **{key: item[key] for key in ("name", "host", "path", "uuid")},
            **running.get((item["uuid"], item["path"]), absent),
        }
        for item in volume["bricks"]
    ]
    return {"bricks": bricks, "daemons": daemons}


def heal(root: ElementTree.Element) -> list[dict[str, Any]]:
    """Return a list of bricks with what waits there to be healed, from ``volume heal NAME info``.

    Takes the answers to ``info summary`` (counts) and to ``info`` and ``info split-brain``
    (entries): each brick is ``{"name", "connected", "reason", "total", "pending", "split_brain",
    "healing", "entries"}``. Counts that the answer lacks, and all those of a brick that could not
    be asked, are None.
    """
    found = []
    for node in root.iterfind("healInfo/bricks/brick"):
        words = (node.findtext("status") or "").strip()
        connected = words == "Connected"
        # glfsheal runs a missing tag into the words: "(...)totalNumberOfEntries0".
        reason = re.sub(r"totalNumberOfEntries\d*$", "", words).strip()
        total = node.findtext("totalNumberOfEntries") or node.findtext("numberOfEntries")
        found.append(
            {
                "name": node.findtext("name"),
                "connected": connected,
                "reason": None if connected else reason,
                "total": _number(total),
                "pending": _number(node.findtext("numberOfEntriesInHealPending")),
                "split_brain": _number(node.findtext("numberOfEntriesInSplitBrain")),
                "healing": _number(node.findtext("numberOfEntriesPossiblyHealing")),
                "entries": [
                    {"gfid": entry.get("gfid"), "path": entry.text or ""}
                    for entry in node.iterfind("file")
                ],
            }
        )
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?\d+", text.strip()) else None


def _brick(name: str) -> dict[str, str]:
    host, _, path = name.partition(":/")
    return {"name": name, "host": host, "path": f"/{path}"}
