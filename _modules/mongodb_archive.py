"""
Keep the oplog of a MongoDB replica set without a break, to restore any second between two backups.

:py:func:`mongodb_archive.follow <salt.modules.mongodb_archive.follow>` runs until it is stopped, on
several nodes that share a folder (Gluster, NFS): one of them writes, the others take over when it
dies. It writes what a majority of the set has committed, without users' secrets, into files that
``mongodb_backup.restore`` takes, and ``chain`` tells which continue a backup.

Where the server is and who logs in is set as for the module ``mongodb``. Who keeps the oplog needs
the role ``backup`` and the action ``replSetGetConfig``, which ``clusterMonitor`` has; the other
functions need no login. With a key in the pillar the files are encrypted, as ``mongodb_backup``
has it.

:depends: PyMongo 4.9 or newer in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or
    newer; all files ``mongodb*.py`` of ``_utils``.
"""

import contextlib
import datetime
import logging
import pathlib
import signal
import threading
import time

from salt.exceptions import CommandExecutionError, SaltException, SaltInvocationError

try:
    from bson import Timestamp

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb_archive"

# Seconds between two looks at the oplog.
PAUSE = 1.0
# Seconds that one command may take.
PATIENCE = 60
# Seconds after which a trouble that goes on is logged again.
REMIND = 300
# What a holder that said nothing for so long is taken for, by the clocks of two nodes.
SILENT = 60
# Seconds for which such a one is watched.
WATCH = 15

log = logging.getLogger(__name__)


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


class _Part:
    """The functions of ``_utils/mongodb_NAME.py``, as they are: see ``mongodb_backup``."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, function):
        loaded = __utils__[f"mongodb_{self._name}.{function}"]
        return getattr(loaded, "func", loaded)


_archiver, _files, _lease, _oplog = map(_Part, ("archiver", "files", "lease", "oplog"))
_segments, _timeline = map(_Part, ("segments", "timeline"))


def _path(written):
    path = pathlib.Path(str(written))
    if not path.is_absolute() or ".." in path.parts:
        raise SaltInvocationError(f"{written!r} cannot be used: write the whole path, without '..'")
    return path


def _moment(doing, name, written):
    """Return the operation time that a user wrote."""
    found = _target(doing, written)
    if not isinstance(found, Timestamp):
        raise SaltInvocationError(f"{doing}: {name} must be an operation time, not {written}")
    return found


def _target(doing, written):
    try:
        return _oplog.target(written)
    except ValueError as err:
        raise SaltInvocationError(f"{doing}: {err}") from err


def _told(entry):
    """Return the times of an entry as they stand in returns."""
    wall = _oplog.wall(entry).isoformat(timespec="milliseconds")
    return {"time": _oplog.text(entry["ts"]), "wall": wall}


def _settings():
    return __utils__["mongodb_login.settings"](dict(__opts__), dict(__pillar__))


def _keys():
    """Return the keys for files of backups that this minion's pillar has."""
    return __utils__["mongodb_crypt.keyring"](_settings(), dict(__pillar__))


def _session(address):
    return __utils__["mongodb_login.session"](
        f"keep the oplog of {address}",
        dict(__opts__),
        dict(__pillar__),
        __utils__["mongodb.connect"],
        __utils__["mongodb.explain"],
        address=address,
        patience=PATIENCE,
    )


def _hello(address):
    settings = _settings()
    with __utils__["mongodb_login.errors"](f"ask {address}", __utils__["mongodb.explain"]):
        return __utils__["mongodb.hello"](address, settings["timeout"], settings["tls"])


# Keeping the oplog


def follow(folder, holder=None, seal_seconds=600, seal_mib=64, sync_seconds=10, lease_seconds=30):
    """
    Keep the oplog in a folder until this is stopped (by SIGTERM or SIGINT).

    folder
        Path of the archive, which must exist; nothing is written where a volume is not mounted.
        Each timeline (see ``mongodb_backup.state``) has a folder in it.

    holder
        Name of this process for who looks; the minion's ID unless given.

    seal_seconds, seal_mib
        Age and size (MiB) at which a file is closed and the next one begun.

    sync_seconds
        Seconds after which what was committed is on the disk.

    lease_seconds
        Seconds for which the process that writes may say nothing, before another takes over.

    It reads this node's own member where that is a secondary, else another secondary, else the
    primary. It goes on by itself when a server or the folder was away, and logs why it waits. When
    the oplog has rolled over what follows the archive's end, it goes on with what is left, and a
    note in the archive says so: ``status`` tells since when a new backup is needed. Nothing is kept
    of a set that is half restored.

    Returns, when it was stopped, a dict of ``folder``, ``entries`` (written) and ``sealed``
    (files). Raises ``SaltInvocationError`` for numbers that cannot be meant.

    CLI Example:

    .. code-block:: bash

        salt-call --local mongodb_archive.follow /srv/shared/oplog
    """
    folder = _path(folder)
    numbers = {
        "seal_seconds": seal_seconds,
        "seal_mib": seal_mib,
        "sync_seconds": sync_seconds,
        "lease_seconds": lease_seconds,
    }
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise SaltInvocationError(f"{name} must be a number above 0, not {value!r}")
    limits = {
        "sync_seconds": sync_seconds,
        "seal_seconds": seal_seconds,
        "seal_bytes": seal_mib * 1024 * 1024,
    }
    with _stopped_by_signals() as stop:
        follower = _Follower(folder, holder or __opts__["id"], lease_seconds, limits, stop)
        follower.run()
    done = follower.archiver
    return {"folder": str(folder), "entries": done.entries, "sealed": done.sealed}


@contextlib.contextmanager
def _stopped_by_signals():
    """Yield an event that a signal to end sets."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class _Turns:
    """Which member is read from, when some had trouble or lack what follows the archive's end."""

    def __init__(self):
        self._lacking, self._troubled = set(), set()

    def choose(self, members):
        """Return the next member, and whether all lack what follows: a gap is left then."""
        all_lack = self._lacking >= set(members)
        tried = self._troubled if all_lack else self._troubled | self._lacking
        if tried >= set(members):
            # Trouble passes, and whoever had it may have what the others lack.
            self._troubled.clear()
            tried = set() if all_lack else self._lacking
        return next(each for each in members if each not in tried), all_lack

    def note(self, member, lacks):
        """Take into account that a member lacks what follows, or had trouble."""
        (self._lacking if lacks else self._troubled).add(member)


class _Follower:
    """A process that keeps the oplog, or waits for its turn."""

    def __init__(self, folder, holder, lease_seconds, limits, stop):
        self._stop = stop
        self._lease_seconds = lease_seconds
        self._lease = _lease.lease(folder, holder, lease_seconds)
        parts = {
            "oplog": _oplog,
            "timeline": _timeline,
            "segments": _segments,
            "files": _files,
            "keys": _keys(),
        }
        self.archiver = _archiver.archiver(folder, self._lease.token, limits, parts)
        self._own = _settings()["address"]
        self._hosts = []
        self._member = self._trouble = None
        self._lost = True
        self._logged = self._beaten = 0.0

    def run(self):
        while not self._stop.is_set():
            try:
                # Who can read nothing leaves the lease to others.
                self._members(enough=1)
                if self._lease.acquire():
                    log.info("the oplog is kept from here")
                    self._keep()
                    log.info("the oplog is not kept from here any more")
                else:
                    self._well()
            except OSError as err:
                self.archiver.leave()
                self._say(
                    f"{err.filename or self.archiver.folder} cannot be used: {err.strerror}; see"
                    " that the volume is mounted, has room, and has the folder"
                )
            except SaltException as err:
                self.archiver.leave()
                self._say(err)
            self._stop.wait(self._lease.interval)
        # What cannot be closed any more is salvaged by the next one.
        with contextlib.suppress(OSError):
            self.archiver.close()
            self._lease.release(self._facts())

    def _keep(self):
        """Keep the oplog while the lease is ours.

        Raises ``OSError`` when the folder is away, and ``CommandExecutionError`` when no member
        could be read for so long that another node shall try.
        """
        self._lost = False
        answered = time.monotonic()
        turns = _Turns()
        while not self._stop.is_set() and self._held():
            try:
                members = self._members()
                # Maybe another member still has what this one has no longer.
                self._member, rebase = turns.choose(members)
                with _session(self._member) as client:
                    _timeline.read(client)
                    answered = time.monotonic()
                    # Have others know soon what is read, and from where.
                    self._beaten = 0.0
                    self.archiver.run(client, rebase, self._pulse(client, members), self._pause)
                turns = _Turns()
                self._close()
            except CommandExecutionError as err:
                self.archiver.leave()
                self._say(err)
                turns.note(self._member, isinstance(err, LookupError))
                if time.monotonic() - answered > self._lease_seconds:
                    self._lease.release(self._facts())
                    raise
                self._pause()

    def _close(self):
        """Seal what is open; who has taken over may have done it."""
        try:
            self.archiver.close()
        except OSError:
            if not self._lost:
                raise
            self.archiver.leave()

    def _members(self, enough=None):
        """Return the members that answer, the one to read from first; or the first so many."""
        views = {}
        for address in dict.fromkeys([self._own, *self._hosts]):
            with contextlib.suppress(CommandExecutionError):
                view = _hello(address)
                self._hosts = view["hosts"] or self._hosts
                known = {each["me"] for each in views.values()}
                if view["state"] in ("PRIMARY", "SECONDARY") and view["me"] not in known:
                    views[address] = view
            if len(views) == enough:
                break
        if not views:
            raise CommandExecutionError(
                f"neither {self._own} nor another member of its set answers as primary or secondary"
            )
        return sorted(views, key=lambda address: views[address]["state"] != "SECONDARY")

    def _pulse(self, client, members):
        """Return what tells whether to go on reading from a member."""
        sealed = self.archiver.sealed

        def pulse():
            nonlocal sealed
            # Before the others are told.
            if self.archiver.waiting:
                self._say(self.archiver.waiting)
            else:
                self._well()
            if self._stop.is_set() or not self._held():
                return False
            if self.archiver.sealed == sealed:
                return True
            sealed = self.archiver.sealed
            # It may have been elected meanwhile, and have other things to do.
            return len(members) == 1 or not client.admin.command("hello")["isWritablePrimary"]

        return pulse

    def _pause(self):
        self._stop.wait(PAUSE)

    def _held(self):
        """Say that the lease is held, when it is time to; return whether it is."""
        now = time.monotonic()
        if not self._lost and now - self._beaten >= self._lease.interval:
            self._lost = not self._lease.beat(self._facts())
            self._beaten = now
        return not self._lost

    def _facts(self):
        return {
            "timeline": self.archiver.timeline,
            "segment": self.archiver.segment,
            "durable": self.archiver.durable,
            "waiting": self.archiver.waiting or self._trouble,
            "member": self._member,
        }

    def _say(self, trouble):
        """Log why nothing is kept, once and then now and again."""
        now = time.monotonic()
        if str(trouble) != self._trouble or now - self._logged >= REMIND:
            log.warning("the oplog is not kept at the moment: %s", trouble)
            self._logged = now
        self._trouble = str(trouble)

    def _well(self):
        if self._trouble:
            log.info("all is well again")
        self._trouble = None


# Looking at the archive


def status(folder, base=None):
    """
    Return what is in an archive, and who writes it.

    folder
        Path of the archive.

    base
        Operation time of the newest backup (``time`` of its ``to``): one that is older than
        ``since`` is a problem.

    Returns a dict of ``folder``; ``holder`` (who writes, or None); ``member`` that it reads from;
    ``timeline`` of the set; ``recoverable_until``: ``time`` and ``wall`` of the last entry that is
    on the disk, or None; ``since``: ``time`` from which on the archive has no gap, with ``why`` (a
    sentence, or None where the archive begins) and ``wall`` (or None): only a backup that is not
    older reaches ``recoverable_until`` (after a rename an older one does as well, but takes longer
    and more care); ``segments`` and ``bytes`` of all timelines; and ``problem``: None or a
    sentence.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_archive.status /srv/shared/oplog
    """
    folder = _path(folder)
    doing = f"look at {folder}"
    found = dict.fromkeys(("holder", "member", "timeline", "recoverable_until", "since", "problem"))
    found = {"folder": str(folder), **found, "segments": 0, "bytes": 0}
    try:
        lease = _living(folder)
        for name in _segments.timelines(folder):
            for each in _segments.segments(folder / name):
                found["segments"] += 1
                with contextlib.suppress(FileNotFoundError):
                    found["bytes"] += each.path.stat().st_size
            # The newest is the last.
            found["timeline"] = name
        found["problem"] = _problem(folder, lease)
        if lease.get("alive"):
            found["holder"], found["member"] = lease["holder"], lease.get("member")
            found["timeline"] = lease.get("timeline") or found["timeline"]
        if found["timeline"]:
            found.update(_reach(folder / found["timeline"], lease))
    except OSError as err:
        found["problem"] = f"{folder} cannot be read: {err.strerror}; make it, or mount the volume"
        return found
    since, oldest = found["since"], base and _moment(doing, "base", base)
    if since and oldest and oldest < _oplog.moment(since["time"]) and not found["problem"]:
        why = f" ({since['why']})" if since["why"] else ""
        found["problem"] = (
            f"the newest backup is of {_oplog.text(oldest)}, and the oplog is kept without a gap"
            f" since {since['time']}{why}: make a backup"
        )
    return found


def _living(folder):
    """Return what the lease says, with ``alive``: whether its holder is."""
    lease = _lease.read(folder)
    if not lease.get("token"):
        return {**lease, "alive": False}

    if time.time() - lease["wall"] < SILENT:
        return {**lease, "alive": True}
    # Or one of two clocks is wrong: does it do anything?
    for _ in __utils__["mongodb.turns"](WATCH):
        now = _lease.read(folder)
        if now.get("beat") != lease["beat"]:
            break
    return {**now, "alive": now.get("beat") != lease["beat"]}


def _problem(folder, lease):
    if lease["alive"]:
        return lease.get("waiting")
    remedy = "see to mongodb_archive.follow on the nodes of the set"
    if "holder" not in lease:
        return f"nobody has ever kept the oplog in {folder}: {remedy}"
    last = datetime.datetime.fromtimestamp(lease["wall"], datetime.UTC).isoformat(
        timespec="seconds"
    )
    return f"nobody keeps the oplog: {lease['holder']} was the last, until {last}; {remedy}"


def _reach(folder, lease):
    """Return ``recoverable_until`` and ``since`` of a timeline."""
    keys = _keys()
    durable = lease.get("durable") if lease.get("timeline") == folder.name else None
    known = [
        each._replace(last=_oplog.moment(durable["time"]))
        if durable and each.path.name == lease.get("segment")
        else each
        for each in _segments.segments(folder)
    ]
    known = _segments.ended(known, keys)
    if not known:
        return {}
    newest = max(known, key=lambda each: each.last)
    if not durable or _oplog.moment(durable["time"]) < newest.last:
        durable = _told(_segments.last_entry(newest.path, keys))
    begins = [(known[0].first, {"wall": None, "why": None})]
    notes = _segments.notes(folder)
    gaps = {at: note for at, note in notes if note["kind"] == "gap"}
    for end, begin in _segments.breaks(known):
        wall = gaps[begin]["from"]["wall"] if begin in gaps else None
        why = f"what followed {_oplog.text(end)} was not in the oplog any more"
        begins.append((begin, {"wall": wall, "why": why}))
    for at, note in notes:
        if note["kind"] == "rename" and at > known[0].first:
            why = f"{note['source']} was renamed to {note['target']}"
            begins.append((at, {"wall": note["at"]["wall"], "why": why}))
    since, facts = max(begins, key=lambda each: each[0])
    return {"recoverable_until": durable, "since": {"time": _oplog.text(since), **facts}}


def chain(folder, after, until=None, timeline=None, known=()):
    """
    Return which files of an archive continue a backup.

    folder
        Path of the archive.

    after
        Operation time (``SECONDS:ORDINAL``) that they continue: ``time`` of ``to`` of the backup.

    until
        The time that is wanted, as ``mongodb_backup.restore`` takes a ``target``; all that there is
        unless given.

    timeline
        That of the backup (``mongodb_backup.info``), or the newest of the archive.

    known
        Names of closed files of which somebody knows the content. Of other closed ones those are
        passed over that end no later than the last of these: they have come late.

    Returns a dict of ``paths``, in order, for ``oplog`` of ``mongodb_backup.restore``;
    ``recoverable_until``: ``time`` and ``wall`` of the last entry in them (without files it is
    ``after``, and ``wall`` is None); and ``timeline``. What is being written is among them.
    Raises ``CommandExecutionError`` when something is missing before ``until``, or before the end
    of the archive.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_archive.chain /srv/shared/oplog 1795836367:77 until=2026-11-28T03:41:59Z
    """
    folder = _path(folder)
    doing = f"continue a backup by {folder}"
    keys = _keys()
    start = reach = _moment(doing, "after", after)
    limit = None if until is None else _target(doing, until)
    try:
        name = timeline or next(reversed(_segments.timelines(folder)), None)
        there = _expected(_segments.segments(folder / name), known) if name else []
        there = _segments.ended(there, keys)
    except OSError as err:
        raise CommandExecutionError(f"{doing}: it cannot be read: {err.strerror}") from err
    reached = limit is None or limit == start
    paths, last = [], None
    for each in [] if limit == start else _segments.covering(there, start):
        paths.append(str(each.path))
        reach, last = each.last, each.path
        if limit is not None and _has(each, limit, keys):
            reached = True
            break
    beyond = min((each.first for each in there if each.first > reach), default=None)
    if beyond is not None and (limit is None or not reached):
        raise CommandExecutionError(
            f"{doing}: what lies between {_oplog.text(reach)} and {_oplog.text(beyond)} is missing"
            f" on timeline {name}: restore up to the one, or from a backup that is not older than"
            " the other"
        )
    if not reached:
        raise CommandExecutionError(
            f"{doing}: it reaches {_oplog.text(reach)} on timeline {name}, and not {until}"
        )
    end = {"time": _oplog.text(start), "wall": None}
    if last:
        end = _told(_segments.last_entry(last, keys))
    return {"paths": paths, "recoverable_until": end, "timeline": name}


def _expected(found, known):
    """Return the segments that are known, those that end later, and open ones."""
    noted = [each for each in found if each.path.name in set(known)]
    reach = max((each.last for each in noted), default=None)
    return [
        each
        for each in found
        if reach is None or each.last is None or each.last > reach or each in noted
    ]


def _has(segment, limit, keys):
    """Tell whether a segment has what shows that a target is reached."""
    if isinstance(limit, Timestamp):
        return segment.last >= limit
    # An operation time is never before its entry's wall clock, but for the part of a second.
    return segment.last.time >= int(limit.timestamp()) and _oplog.beyond(
        _segments.last_entry(segment.path, keys), limit
    )


def prune(folder, before):
    """
    Remove the files of an archive that no backup needs any more.

    folder
        Path of the archive.

    before
        Operation time; what ends before it is removed. ``time`` of ``to`` of the oldest backup that
        is kept.

    Returns a dict of ``removed`` (files) and ``bytes``. What is being written stays.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_archive.prune /srv/shared/oplog 1795836367:77
    """
    folder = _path(folder)
    doing = f"prune {folder}"
    limit = _moment(doing, "before", before)
    try:
        names = _segments.timelines(folder)
        sizes = [size for name in names for size in _segments.prune(folder / name, limit)]
        for name in names[:-1]:
            # Its last segment may just have gone.
            with contextlib.suppress(OSError):
                (folder / name).rmdir()
    except OSError as err:
        raise CommandExecutionError(f"{doing}: {err.strerror}") from err
    return {"removed": len(sizes), "bytes": sum(sizes)}
