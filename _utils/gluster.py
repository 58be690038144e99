"""
The language of GlusterFS: what its command line answers, as typed data, and what is built from it.

Nothing here runs a command or looks at the machine: every function turns data into data, so that
each can be tested on answers recorded from real daemons. ``_modules/gluster.py`` does the running.
Written against glusterfs 10 and 11, whose XML is the same.
"""

import re
import xml.etree.ElementTree as ElementTree

import salt.exceptions

# glusterd's own error numbers (its EG_* range): another command holds the lock, no such volume.
ERRNO_LOCKED = 30802
ERRNO_NO_VOLUME = 30806
# The shell's exit code for a command that is not there.
NO_COMMAND = 127
# `peer probe` succeeds with these in opErrno when there was nothing to do.
PROBE_OF_SELF = 1
PROBE_OF_PEER = 2

IN_CLUSTER = "Peer in Cluster"

_LOCKED = re.compile(r"Another transaction (is|could be) in progress|^Locking failed on ")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?")
_OPTION = re.compile(r"[a-z][a-z0-9-]*(\.[A-Za-z0-9_-]+)+")
_MOUNT_OPTION = re.compile(r"[A-Za-z0-9_.-]+(=[^\s,]+)?")


class GlusterError(salt.exceptions.CommandExecutionError):
    """A refusal in glusterd's own words.

    :ivar errno: glusterd's number (its ``opErrno``), or the exit code if it did not answer; 0 for
        refusals that the command line makes on its own.
    :ivar errstr: its words without our prefix.
    :ivar answered: False if glusterd was not reached at all: not installed, or not running.
    """

    def __init__(self, command, errno, errstr, answered=True):
        super().__init__(f"{command}: {errstr}" + (f" ({errno})" if errno else ""))
        self.errno = errno
        self.errstr = errstr
        self.answered = answered


def command(words):
    """Return the argument list that runs ``gluster`` with ``words``, answering in XML."""
    return ["gluster", "--mode=script", "--xml", *words]


def reply(words, result):
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
        raise GlusterError(label, _number(root.findtext("opErrno")), " ".join(errstr.split()))
    return root


def locked(error):
    """Tell whether ``error`` only means that another command holds glusterd's lock right now."""
    return getattr(error, "errno", None) == ERRNO_LOCKED or bool(
        _LOCKED.search(getattr(error, "errstr", ""))
    )


def probe(root):
    """Return what ``peer probe`` did: ``{"added": bool, "words": str}``."""
    nothing_done = _number(root.findtext("opErrno")) in (PROBE_OF_SELF, PROBE_OF_PEER)
    return {"added": not nothing_done, "words": (root.findtext("output") or "").strip()}


def peers(root):
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


def volumes(root):
    """Return the volume names from ``volume list``."""
    return [node.text for node in root.iterfind("volList/volume")]


def info(root):
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
                **brick(item.findtext("name")),
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


def status(root, volume):
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


def heal(root):
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


def brick(text):
    """Return ``{"name", "host", "path"}`` for a brick written ``host:/absolute/path``.

    :raises CommandExecutionError: if it is not written like that.
    """
    host, colon, path = str(text).partition(":/")
    if not colon or not _HOST.fullmatch(host) or re.search(r"[\s\0]", path) or not path.strip("/"):
        raise salt.exceptions.CommandExecutionError(
            f"brick {text!r} is not written as host:/absolute/path"
        )
    path = "/" + re.sub("/+", "/", path).strip("/")
    return {"name": f"{host}:{path}", "host": host, "path": path}


def layout(bricks, replica=1, arbiter=0):
    """Check a wanted layout and return its bricks, normalised, in order.

    :param bricks: list of ``host:/path``; each run of ``replica`` bricks holds the same files, and
        with ``arbiter=1`` the last of each run keeps their names and metadata only.
    :raises CommandExecutionError: naming the first thing that glusterd could not make a volume of.
        It has to be found here: asked in XML, glusterd takes a brick count that is no multiple of
        the replica count, fails half-way and leaves a volume behind that cannot be used.
    """
    if isinstance(bricks, str) or not bricks:
        raise salt.exceptions.CommandExecutionError(
            "bricks must be a list of host:/absolute/path with at least one entry"
        )
    if not isinstance(replica, int) or isinstance(replica, bool) or replica < 1:
        raise salt.exceptions.CommandExecutionError(
            f"replica must be a whole number from 1 on, not {replica!r}"
        )
    if arbiter not in (0, 1) or (arbiter and replica != 3):
        raise salt.exceptions.CommandExecutionError(
            "arbiter must be 0 or 1, and 1 only with replica 3 (two copies and the arbiter)"
        )
    wanted = [brick(text)["name"] for text in bricks]
    twice = sorted({name for name in wanted if wanted.count(name) > 1})
    if twice:
        raise salt.exceptions.CommandExecutionError(f"brick {twice[0]} is given twice")
    if len(wanted) % replica:
        raise salt.exceptions.CommandExecutionError(
            f"{len(wanted)} bricks cannot be put into sets of replica {replica}: "
            "give a multiple of it"
        )
    return wanted


def layout_difference(volume, wanted, replica, arbiter=0):
    """Return in words how an existing volume's layout differs from the wanted one, None if not.

    :param volume: as :func:`info` returns it.
    :param wanted: as :func:`layout` returns it. The order of the sets, and within a set (but for
        the arbiter, its last), makes no difference.
    """
    actual = [item["name"] for item in volume["bricks"]]
    words = []
    if volume["disperse"]:
        words.append(f"it is of type {volume['type']}")
    for what, is_now, wants in (
        ("replica", volume["replica"], replica),
        ("arbiter", volume["arbiter"], arbiter),
    ):
        if is_now != wants:
            words.append(f"its {what} count is {is_now}, not {wants}")
    missing = [name for name in wanted if name not in actual]
    surplus = [name for name in actual if name not in wanted]
    if missing:
        words.append("it lacks " + ", ".join(missing))
    if surplus:
        words.append("it also has " + ", ".join(surplus))
    if not words and _sets(actual, replica, arbiter) != _sets(wanted, replica, arbiter):
        words.append(f"its bricks are put into sets in another way: {', '.join(actual)}")
    return "; ".join(words) or None


def replica_sets(volume):
    """Return a volume's brick names as a list of lists, one for each set of copies."""
    size = volume["disperse"] or volume["replica"] or 1
    names = [item["name"] for item in volume["bricks"]]
    return [names[start : start + size] for start in range(0, len(names), size)]


def quorum(volume, names):
    """Return how many of a set's bricks ``names`` must be online for writes to be safe.

    More than half of the copies; for two copies without an arbiter one (glusterd then insists on
    the first); for an erasure-coded set all but its redundancy.
    """
    if volume["disperse"]:
        return len(names) - volume["redundancy"]
    if len(names) <= 2:
        return 1
    return len(names) // 2 + 1


def volume_name(name):
    """Return ``name``. Raise CommandExecutionError if glusterd would not take it for a volume."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "all":
        raise salt.exceptions.CommandExecutionError(
            f"{name!r} is no volume name: letters, digits, '-' and '_', and not 'all'"
        )
    return name


def host_name(name):
    """Return ``name``. Raise CommandExecutionError if it cannot be a host name or address."""
    if not isinstance(name, str) or not _HOST.fullmatch(name):
        raise salt.exceptions.CommandExecutionError(f"{name!r} is no host name or address")
    return name


def option_values(options):
    """Return volume options as glusterd wants them, ``{name: text}``; booleans become on and off.

    :raises CommandExecutionError: for a name that is not written in full (glusterd completes short
        names, so what was set could not be found again) and for a value without text.
    """
    values = {}
    for name, value in (options or {}).items():
        if not isinstance(name, str) or not _OPTION.fullmatch(name):
            raise salt.exceptions.CommandExecutionError(
                f"{name!r} is no volume option: write its full name, e.g. network.ping-timeout"
            )
        if isinstance(value, bool):
            value = "on" if value else "off"
        elif isinstance(value, list | tuple):
            value = ",".join(str(item) for item in value)
        elif value is None or isinstance(value, dict):
            raise salt.exceptions.CommandExecutionError(f"option {name} has no value: {value!r}")
        values[name] = str(value).strip()
        if not values[name]:
            raise salt.exceptions.CommandExecutionError(f"option {name} has an empty value")
    return values


def health(volume, state, healing):
    """Return the reasons why a volume is not healthy, an empty list if it is.

    :param volume: as :func:`info` returns it.
    :param state: as :func:`status` returns it (with daemons), None if the volume is not started.
    :param healing: as :func:`heal` returns it for ``info summary``; an empty list for a volume
        without copies.
    """
    if state is None:
        return [f"volume {volume['name']} is {volume['status']}, not Started"]
    online = {item["name"] for item in state["bricks"] if item["online"]}
    reasons = [f"brick {item['name']} is offline" for item in state["bricks"] if not item["online"]]
    for names in replica_sets(volume):
        up, need = len(online.intersection(names)), quorum(volume, names)
        if up < need:
            reasons.append(f"{up} of {', '.join(names)} online, {need} needed: quorum lost")
    hosts = {item["uuid"]: item["host"] for item in volume["bricks"]}
    reasons += [
        f"{item['daemon']} on {hosts.get(item['uuid'], item['uuid'])} is not running"
        for item in state["daemons"]
        if not item["online"]
    ]
    for item in healing:
        if not item["connected"]:
            # An offline brick was named above; this is one that runs and cannot be reached.
            if item["name"] in online:
                reasons.append(f"heal state of {item['name']} is unknown: {item['reason']}")
            continue
        if item["split_brain"]:
            reasons.append(f"{item['split_brain']} entries in split-brain on {item['name']}")
        waiting = (item["total"] or 0) - (item["split_brain"] or 0)
        if waiting > 0:
            reasons.append(f"{waiting} entries wait to be healed on {item['name']}")
    return reasons


def unit_name(path, suffix="mount"):
    """Return systemd's unit name for a mount point, as ``systemd-escape --path`` makes it."""
    trimmed = re.sub("/+", "/", path).strip("/")
    if not trimmed:
        return f"-.{suffix}"
    escaped = []
    for position, byte in enumerate(trimmed.encode()):
        char = chr(byte)
        if char == "/":
            escaped.append("-")
        elif (char.isascii() and char.isalnum()) or char in ":_" or (char == "." and position):
            escaped.append(char)
        else:
            escaped.append(f"\\x{byte:02x}")
    return f"{''.join(escaped)}.{suffix}"


def mount_units(path, volume, servers, options=None):
    """Return the systemd units that keep a volume mounted: ``{file name: text}``.

    The mount unit, and a companion that its failure starts. systemd never repeats a mount that
    failed, so at boot a node that is up before the storage nodes would stay without the volume.
    The companion starts the mount again every ten seconds until it succeeds, and ends then.
    ``nofail`` keeps a volume that is gone from holding up the boot (logins wait for
    remote-fs.target); units that need the volume say so with ``RequiresMountsFor=``.

    :raises CommandExecutionError: for a path, volume, server or option that cannot be used.
    """
    if not isinstance(path, str) or not path.startswith("/") or not path.strip("/"):
        raise salt.exceptions.CommandExecutionError(
            f"mount point {path!r} must be an absolute path below /"
        )
    if re.search(r"[\x00-\x1f\x7f]", path) or re.search(r"(^|/)\.{1,2}(/|$)", path):
        raise salt.exceptions.CommandExecutionError(
            f"mount point {path!r} must hold no control character and no '.' or '..' step"
        )
    if isinstance(servers, str) or not servers:
        raise salt.exceptions.CommandExecutionError(
            f"servers of volume {volume} must be a list with at least one host"
        )
    volume_name(volume)
    first, *others = [host_name(server) for server in servers]
    if any(":" in server for server in servers):
        raise salt.exceptions.CommandExecutionError(
            "servers of a mount are parted by ':', so name them where they have IPv6 addresses"
        )
    fields = ["_netdev", "nofail"]
    if others:
        fields.append("backup-volfile-servers=" + ":".join(others))
    for option in ["log-level=WARNING"] if options is None else options:
        if not isinstance(option, str) or not _MOUNT_OPTION.fullmatch(option):
            raise salt.exceptions.CommandExecutionError(f"{option!r} is no mount option")
        if option.partition("=")[0] in ("_netdev", "nofail", "backup-volfile-servers"):
            raise salt.exceptions.CommandExecutionError(
                f"mount option {option} is set by this function: leave it out"
            )
        fields.append(option)
    path = "/" + re.sub("/+", "/", path).strip("/")
    mount, retry = unit_name(path), unit_name(path).removesuffix(".mount") + "-retry.service"
    where, fields = path.replace("%", "%%"), ",".join(fields).replace("%", "%%")
    return {
        mount: f"""\
# Written by Salt (gluster.mounted); changes made here are overwritten.
[Unit]
Description=Gluster volume {volume} on {where}
Wants=network-online.target
After=network-online.target glusterd.service
OnFailure={retry}

[Mount]
What={first}:/{volume}
Where={where}
Type=glusterfs
Options={fields}
TimeoutSec=60

[Install]
WantedBy=multi-user.target
""",
        retry: f"""\
# Written by Salt (gluster.mounted); changes made here are overwritten.
[Unit]
Description=Try again to mount Gluster volume {volume} on {where}
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=systemctl start {_quoted(mount)}
Restart=on-failure
RestartSec=10
""",
    }


def mounts(mountinfo, path):
    """Return what is mounted on ``path``, lowest first: ``[{"source", "fstype", "options"}]``.

    :param mountinfo: the text of ``/proc/self/mountinfo``.
    """
    path = "/" + re.sub("/+", "/", path).strip("/")
    found = []
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if _unescape(fields[4]) == path:
            fstype, source, super_options = fields[fields.index("-", 6) + 1 :][:3]
            options = list(dict.fromkeys(f"{fields[5]},{super_options}".split(",")))
            found.append({"source": _unescape(source), "fstype": fstype, "options": options})
    return found


def _sets(names, size, arbiter):
    groups = [names[start : start + size] for start in range(0, len(names), size)]
    split = size - arbiter
    return {(frozenset(group[:split]), tuple(group[split:])) for group in groups}


def _number(text):
    return int(text) if text and re.fullmatch(r"-?\d+", text.strip()) else None


def _quoted(unit):
    # systemd unescapes command lines and expands specifiers in them; unit names hold "\x2d".
    return unit.replace("\\", "\\\\").replace("%", "%%")


def _unescape(field):
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)
