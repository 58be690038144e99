"""
Back up a MongoDB replica set, and restore it as it was at one operation time or at any later one
that the oplog reaches.

A backup is a folder as ``mongodump --oplog --gzip`` makes one, which ``mongorestore --oplogReplay
--gzip`` reads, with a manifest: what it holds and from when, and the checksum of each file. It is
there as a whole or not at all. Users, roles and what else is in ``admin``, ``config`` and ``local``
are not in it.

It is made from a secondary, which goes on working: the collections are read one after the other
while the oplog is kept, and the oplog then brings all of them to one time. Only what a majority of
the set has committed is in it.

Where the server is and who logs in is set as for the module ``mongodb``. Who makes backups needs
the role ``backup``; who restores needs ``restore``, ``readWriteAnyDatabase`` and
``dbAdminAnyDatabase``; ``root`` has them all.

With a key in the minion's pillar what is written is encrypted, and what was is read with that key
or an older one; a backup without encryption is read as well:

.. code-block:: yaml

    secrets:
      mongodb_backup_key: …        # 32 bytes in base64: openssl rand -base64 32
      mongodb_backup_old_keys: […]  # of backups from before the key was changed

``mongodb.backup_key_pillar`` and ``mongodb.backup_old_keys_pillar``, in the minion's configuration
or the pillar, name other paths. Where the first is set, nothing is written without a key.

:depends: PyMongo 4.9 or newer in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or
    newer; all files ``mongodb*.py`` of ``_utils``.
"""

import copy
import datetime
import logging
import time

from salt.exceptions import CommandExecutionError, SaltInvocationError

try:
    from bson import Timestamp

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb_backup"
__func_alias__ = {"list_": "list"}

# Seconds between two looks at the oplog while a collection is read.
PULSE = 1.0

log = logging.getLogger(__name__)


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


class _Part:
    """The functions of ``_utils/mongodb_NAME.py``, as they are.

    What the loader has wraps each, which costs more than what those do that are called for every
    document. They use none of the loader's dunders.
    """

    def __init__(self, name):
        self._name = name

    def __getattr__(self, function):
        loaded = __utils__[f"mongodb_{self._name}.{function}"]
        return getattr(loaded, "func", loaded)


_catalog, _digest, _files, _load = map(_Part, ("catalog", "digest", "files", "load"))
_oplog, _replaying, _scan, _segments = map(_Part, ("oplog", "replay", "scan", "segments"))
_timeline, _window, _gentle = map(_Part, ("timeline", "window", "gentle"))


def _session(doing, connect, address, patience):
    return __utils__["mongodb_login.session"](
        doing,
        dict(__opts__),
        dict(__pillar__),
        __utils__[f"mongodb.{connect}"],
        __utils__["mongodb.explain"],
        address=address,
        patience=patience,
    )


def _keys():
    """Return the keys for files of backups that this minion's pillar has."""
    pillar = dict(__pillar__)
    settings = __utils__["mongodb_login.settings"](dict(__opts__), pillar)
    return __utils__["mongodb_crypt.keyring"](settings, pillar)


def _path(written):
    return _files.path(written)


def _utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _moment(entry):
    """Return the times of an oplog entry as they stand in manifests and returns."""
    wall = _oplog.wall(entry).isoformat(timespec="milliseconds")
    return {"time": _oplog.text(entry["ts"]), "wall": wall}


# Making backups


def dump(folder, primary=False, address=None, patience=600):
    """
    Make a backup of all databases but ``admin``, ``config`` and ``local``.

    folder
        Path of the folder that the backup will be. It must not exist, and the one above must.
        It has its name as a whole only. What another dump left half-done beside it is removed.

    primary
        Whether it may be made from the primary, which has other things to do; else only from a
        secondary.

    address
        ``host:port`` of the member to read; this node's own unless given.

    patience
        Seconds for which the server may say nothing, and for which a majority may commit nothing.

    Returns a dict as ``mongodb_backup.info`` does. Raises ``CommandExecutionError``, and leaves
    nothing, when the member is no secondary, when more is written meanwhile than its oplog holds,
    when a collection is renamed meanwhile, when there is a time series, and when the set is half
    restored.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.dump /srv/shared/backups/2026-11-28T03
    """
    folder = _path(folder)
    doing = f"dump into {folder}"
    keys = _keys()
    began = time.time()
    with (
        _gentle.work() as rest,
        _files.published(folder) as partial,
        _session(doing, "connect", address, patience) as client,
    ):
        here = __utils__["mongodb.describe"](address, client.admin.command("hello"))
        if here["state"] != "SECONDARY" and not (primary and here["state"] == "PRIMARY"):
            raise CommandExecutionError(
                f"{doing}: {here['me'] or 'this server'} is {here['state'] or 'in no replica set'}:"
                " make it from a secondary, or say primary=True where there is no other"
            )
        state = _timeline.read(client)
        half_restored = _timeline.refusal(state)
        if half_restored:
            raise CommandExecutionError(f"{doing}: {half_restored}")
        written = _files.dump(partial, keys)
        found = _dump(client, written, state["timeline"], patience, rest)
        written.seal(
            {
                **found,
                "set": here["set"],
                "timeline": state["timeline"],
                "member": here["me"],
                "version": client.admin.command("buildInfo")["version"],
                "began": _utc(began),
                "ended": _utc(time.time()),
            }
        )
    return info(folder)


def _dump(client, written, timeline, patience, rest):
    """Write documents, metadata and oplog; return what the manifest says of them."""
    reader = _oplog.reader(client, _oplog.first_needed(client))
    window = _window.window(_oplog.operations, _oplog.is_ours, _digest.identity)
    kept = _oplog.without_secrets
    troubles = {}
    with written.oplog() as target:

        def pull(until=None):
            for entry in reader.pull(until):
                mark = _timeline.of_entry(entry, _oplog.operations)
                # The restore that has just ended may have written the first entry.
                if mark is not None and (mark.get("restoring") or mark.get("timeline") != timeline):
                    raise CommandExecutionError(
                        f"a restore began or ended at {_oplog.text(entry['ts'])}, while the set was"
                        " dumped: dump again when there is none"
                    )
                window.see(entry)
                target.write(kept(entry))

        pull()
        listed = _scan.collections(client, _oplog.is_ours, _window.refusal)
        floor = _oplog.position(client)["applied"]
        for each in listed:
            written.metadata(each)
            if each["type"] == "collection":
                troubles[each["namespace"]] = _copy(client, each, written, pull, patience, rest)
        end = _oplog.wait_committed(client, max(floor, reader.last), patience)
        pull(end)
        if reader.last != end:
            raise CommandExecutionError(
                f"the oplog of this member ends with {_oplog.text(reader.last)}, and a majority has"
                f" committed {_oplog.text(end)}: take a member that has caught up"
            )
    for namespace, trouble in troubles.items():
        if trouble and not window.was_dropped(namespace):
            raise CommandExecutionError(f"{namespace} could not be read to its end: {trouble}")
    return {
        "collections": _states(client, listed, written, window, end, rest),
        "from": _moment(window.first),
        "to": _moment(window.last),
        "entries": window.entries,
    }


def _copy(client, each, written, pull, patience, rest):
    """Write the documents of a collection; return why these are not all, or None."""
    looked = time.monotonic()
    with written.documents(each["namespace"]) as target:
        try:
            for batch in _scan.documents(client, each["database"], each["name"], patience):
                target.write(batch)
                if time.monotonic() - looked >= PULSE:
                    pull()
                    looked = time.monotonic()
                rest()
        except InterruptedError as err:
            return str(err)
    return None


def _states(client, listed, written, window, end, rest):
    """Return of each collection how many documents it had at ``end``, and their hash.

    Documents that were not written since the dump began are in the file as they were then; the
    others are asked for as of that time, before all else, while the server still knows.
    """
    then = {
        each["namespace"]: _written_meanwhile(client, each, window, end)
        for each in listed
        if each["type"] == "collection"
    }
    identity = _digest.identity
    states = {}
    for each in listed:
        namespace = each["namespace"]
        states[namespace] = state = {"type": each["type"]}
        if each["type"] != "collection":
            continue
        touched, total = window.touched.get(namespace, ()), then[namespace]
        state["read"] = 0
        for chunk in written.written(namespace):
            for document in _digest.split(chunk):
                state["read"] += 1
                if total and not (touched and identity(document) in touched):
                    total.add(document)
            rest()
        state["documents"] = total.documents if total else None
        state["hash"] = total.hash if total else None
    return states


def _written_meanwhile(client, each, window, end):
    """Return the sum of the documents of a collection that were written during the dump, as they
    were at ``end``; None if that cannot be known."""
    namespace = each["namespace"]
    # What makes room in a capped collection is not in the oplog.
    if window.is_unknown(namespace) or each["options"].get("capped"):
        return None
    total = _digest.start()
    touched = window.touched.get(namespace, ())
    try:
        ids = [_digest.value(identity) for identity in touched]
        for document in _scan.documents_at(client, each["database"], each["name"], ids, end):
            total.add(document)
    except LookupError as err:
        log.info("%s as of the end of the dump is not known: %s", namespace, err)
        return None
    return total


def copy_oplog(path, after, address=None, patience=600):
    """
    Write what a majority has committed since an operation time into a file, to restore later times.

    path
        Path of the file, which must not exist. It has its name as a whole only.

    after
        Operation time (``SECONDS:ORDINAL``) from which the oplog is wanted: ``time`` of ``to`` of
        a backup, or of the last file. Its entry is the first of the file, so that
        ``mongodb_backup.restore`` sees that the two belong together.

    address, patience
        As for ``mongodb_backup.dump``. Any member will do.

    Returns a dict of ``path``, ``from`` and ``to`` (each ``time`` and ``wall``), ``entries``,
    ``bytes``, ``sha256`` and ``encrypted`` (the key's ID or None; an encrypted file can be read
    under this name only). Raises ``CommandExecutionError`` when the oplog does not reach back
    so far: then only a new backup helps.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.copy_oplog /srv/shared/oplog/0001.bson.gz 1795836367:77
    """
    path = _path(path)
    doing = f"copy the oplog into {path}"
    keys = _keys()
    try:
        start = _oplog.target(after)
    except ValueError as err:
        raise SaltInvocationError(f"{doing}: {err}") from err
    if not isinstance(start, Timestamp):
        raise SaltInvocationError(f"{doing}: after must be an operation time, not {after}")
    first = last = None
    count = 0
    kept = _oplog.without_secrets
    with (
        _session(doing, "connect", address, patience) as client,
        _files.published_oplog(path, keys) as (target, facts),
    ):
        for entry in _oplog.reader(client, start).pull():
            first = first or entry
            last = entry
            count += 1
            target.write(kept(entry))
        if last is None:
            raise CommandExecutionError(f"{doing}: this member is not at {after} yet: try later")
    return {
        "path": str(path),
        "from": _moment(first),
        "to": _moment(last),
        "entries": count,
        "encrypted": keys.id,
        **facts,
    }


# Looking at the set, and at backups


def state(address=None):
    """
    Return on which timeline the set is, and whether it is half restored.

    address
        ``host:port`` of a member; this node's own unless given.

    A timeline is the history between two restores: oplog of one continues no backup of another.
    Returns a dict of ``timeline``, which is the set's ``replicaSetId`` before its first restore
    (None of a server without a set); ``restoring``: None, or of a restore that is under way, or
    that was left half-done and has to be done again, ``backup``, ``target`` and ``since``; and
    ``restored``: None, or of the restore that the timeline began with ``backup``, ``to`` and
    ``at``.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.state
    """
    with _session("look at the timeline", "connect", address, None) as client:
        seen = _timeline.read(client)
    return {key: seen[key] for key in ("timeline", "restoring", "restored")}


def info(folder):
    """
    Return what a backup holds, as its manifest says. The files themselves are not looked at.

    folder
        Path of the backup.

    Returns a dict of ``folder``; ``sha256`` of the manifest, which has that of every file, for
    whoever wants to know the backup again; ``set``, ``member`` and ``version`` of the server;
    ``timeline`` (see ``mongodb_backup.state``); ``began`` and ``ended`` by this node's clock;
    ``from`` and ``to``, each with ``time`` (``SECONDS:ORDINAL``) and ``wall``: the part of the
    oplog in it, and ``to`` is the time that it restores; ``entries`` of the oplog; ``bytes`` on the
    disk; ``encrypted``, the ID of the key or None; and ``collections``, each with ``type``,
    ``read`` (the documents in its file), ``documents`` and ``hash`` (of what there was at ``to``,
    or None where that could not be known). Raises ``CommandExecutionError`` when it is damaged, or
    its key is not in the pillar.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.info /srv/shared/backups/2026-11-28T03
    """
    return _info(_files.backup(_path(folder), _keys()))


def _info(backup):
    manifest = dict(backup.manifest)
    del manifest["format"], manifest["files"]
    return {
        "folder": str(backup.folder),
        "sha256": backup.sha256,
        **manifest,
        **_measures(backup.manifest),
    }


def _measures(manifest):
    return {
        "bytes": sum(each["bytes"] for each in manifest["files"].values()),
        "encrypted": manifest["encrypted"]["key"] if "encrypted" in manifest else None,
    }


def list_(folder):
    """
    Return the backups in a folder, the oldest first.

    folder
        Path of the folder that the backups lie in.

    Returns a list of dicts of ``name``, ``set``, ``timeline`` and ``to`` (see
    ``mongodb_backup.info``), ``ended``, ``bytes``, ``encrypted`` and ``problem``: None, or a
    sentence when the manifest is damaged, and then nothing else is known. What is half-done is no
    backup. No key is needed, and none tried.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.list /srv/shared/backups
    """
    parent = _path(folder)
    if not parent.is_dir():
        raise CommandExecutionError(f"{parent} is no folder: make it, or mount it")
    found = []
    for child in sorted(parent.iterdir()):
        if child.name.startswith(".") or not _files.is_backup(child):
            continue
        row = dict.fromkeys(
            ("set", "timeline", "to", "ended", "bytes", "encrypted", "problem"),
        )
        try:
            seen, _ = _files.manifest(child)
            seen.update(_measures(seen))
            row.update({key: seen.get(key) for key in row if key != "problem"})
        except CommandExecutionError as err:
            row["problem"] = str(err)
        found.append({"name": child.name, **row})
    return sorted(found, key=lambda row: (row["to"] or {}).get("wall", ""))


def verify(folder, sha256=None):
    """
    Read each file of a backup and compare it with the checksum from when it was written.

    folder
        Path of the backup.

    sha256
        ``sha256`` of ``mongodb_backup.info`` from when it was made: another backup in its place is
        refused, also one that is whole.

    Returns a dict of ``folder``, ``files`` and ``bytes``. Raises ``CommandExecutionError`` with a
    sentence for each file that is missing, damaged or no part of the backup.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.verify /srv/shared/backups/2026-11-28T03
    """
    backup = _whole(folder, sha256)
    files = backup.manifest["files"]
    return {
        "folder": str(backup.folder),
        "files": len(files),
        "bytes": sum(each["bytes"] for each in files.values()),
    }


def remove(folder, confirm=None):
    """
    Remove a backup; return True.

    folder
        Path of the backup. It is none any more at once; what a removal that dies has left of it is
        removed by the next dump into the same folder.

    confirm
        The name of the backup, the last part of its path: nothing happens without it.

    CLI Example:

    .. code-block:: bash

        salt db-2 mongodb_backup.remove /srv/shared/backups/2026-11-28T03 confirm=2026-11-28T03
    """
    path = _path(folder)
    if not _files.is_backup(path):
        raise CommandExecutionError(f"{path} is no backup: nothing was removed")
    if confirm != path.name:
        raise CommandExecutionError(
            f"this removes the backup {path}; to do it say confirm={path.name}"
        )
    _files.remove(path)
    return True


def contents(address=None):
    """
    Return what a restore with ``drop`` would remove, were all of it in the backup: the collections
    of all databases but ``admin``, ``config`` and ``local``, and about how many documents each has.

    address
        ``host:port`` of a member; this node's own unless given. Its set's primary is asked.

    Returns a dict of dicts of numbers, by database and collection.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb_backup.contents
    """
    with _session("look what there is", "connect_primary", address, None) as client:
        ours = [name for name in client.list_database_names() if _oplog.is_ours(f"{name}.")]
        return _load.standing(client, ours)


def _whole(folder, sha256):
    backup = _files.backup(_path(folder), _keys())
    backup.require(sha256)
    problems = backup.problems()
    if problems:
        raise CommandExecutionError(f"{backup.folder} is not whole: {'; '.join(problems)}")
    return backup


# Restoring


def restore(
    folder,
    target=None,
    oplog=(),
    drop=False,
    confirm=None,
    check=True,
    sha256=None,
    oplog_sha256=None,
    address=None,
    patience=3600,
):
    """
    Restore a backup through the primary of this node's set.

    folder
        Path of the backup.

    target
        Restore what there was at this time: an operation time (``SECONDS:ORDINAL``), or a time on
        the wall clock with its zone (``2026-11-28T03:12:00Z``), which is reached with the last
        entry before the first one that is later. Without it all that is given is restored.

    oplog
        List of the paths of files with more oplog, in their order, as ``mongodb_backup.copy_oplog``
        writes them or ``mongodb_archive.chain`` names them. Without them only the backup's own time
        can be restored.

    drop
        Whether the databases of the backup and its oplog are removed first, with all that is in
        them now. Without it they must not be there. Other databases are left alone.

    confirm
        The name of the set, for ``drop`` (of a server without one its ``host:port``).

    check
        Whether counts and hashes of the collections are compared with the backup's, where it has
        them, when they are as at its time. It reads all documents once more.

    sha256
        As for ``mongodb_backup.verify``.

    oplog_sha256
        A dictionary with the SHA-256, by path, of files of ``oplog`` from when they were written:
        another file in the place of one is refused.

    address
        ``host:port`` of a member of another set, or of a server without one, to restore into.

    patience
        Seconds that one command may take; making the indexes of a collection is one.

    All files are checked and the oplog is gone through before anything is touched. From then until
    its end the set is marked as half restored (see ``mongodb_backup.state``), and its end begins a
    new timeline. Returns a dict of ``set``, ``timeline`` (the new one), ``databases``,
    ``left_alone`` (other databases), ``to`` (the last entry that was replayed), ``documents``
    (loaded), ``operations`` (replayed), ``checked`` and ``unchecked`` (collections), and
    ``seconds`` for each part. Raises ``CommandExecutionError``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb_backup.restore /srv/shared/backups/2026-11-28T03
        salt db-1 mongodb_backup.restore /srv/shared/backups/2026-11-28T03 \
            oplog='[/srv/shared/oplog/0001.bson.gz]' target=2026-11-28T03:41:59Z \
            drop=True confirm=rs0
    """
    clock = _Clock()
    doing = f"restore {folder}"
    backup = _whole(folder, sha256)
    files = [_path(path) for path in ([oplog] if isinstance(oplog, str) else oplog)]
    exchanged = _files.exchanged(oplog_sha256 or {})
    if exchanged:
        raise CommandExecutionError(f"{doing}: {'; '.join(exchanged)}")
    keys = _keys()
    try:
        limit = None if target is None else _oplog.target(target)
        consistent = _oplog.moment(backup.manifest["to"]["time"])
    except ValueError as err:
        raise SaltInvocationError(f"{doing}: {err}") from err
    sources = [(str(backup.folder), backup.entries)]
    sources += [(str(path), lambda path=path: _entries(path, keys)) for path in files]
    catalog = _catalog.catalog()
    for namespace in backup.manifest["collections"]:
        catalog.add(namespace, backup.metadata(namespace))
    rehearsal = _replay(lambda *_, **__: None, copy.deepcopy(catalog), consistent)
    reached = _feed(rehearsal, sources, consistent, limit)
    _check_target(doing, backup, target, limit, reached, rehearsal.last)
    clock.lap("look")
    with _session(doing, "connect_primary", address, patience) as client:
        here = __utils__["mongodb.describe"](address, client.admin.command("hello"))
        name = here["set"] or client.address and "{}:{}".format(*client.address)
        standing = _may_remove(doing, client, rehearsal.databases, drop, confirm, name)
        _timeline.begin(client, str(backup.folder), None if target is None else str(target))
        for database in standing:
            _load.drop(client, database)
        others = {each for each in client.list_database_names() if _oplog.is_ours(f"{each}.")}
        documents = _load_documents(client, backup, catalog)
        clock.lap("load")
        replay = _replay(
            lambda operations, **options: _load.apply(client, operations, **options),
            catalog,
            consistent,
        )
        judged = {}

        def judge():
            clock.lap("replay")
            replay.flush()
            judged.update(_compare(client, backup, catalog) if check else {})
            clock.lap("check")

        # What somebody has written to the archive since then was not looked at.
        _feed(replay, sources, consistent, rehearsal.last["ts"], judge)
        clock.lap("replay")
        wrong = sorted(namespace for namespace, right in judged.items() if not right)
        if wrong:
            raise CommandExecutionError(
                f"{doing}: {', '.join(wrong)} came out other than the backup says; all is restored,"
                " but for indexes and views"
            )
        _load.finish(client, catalog)
        clock.lap("indexes")
        timeline = _timeline.finish(client, str(backup.folder), _oplog.text(replay.last["ts"]))
    return {
        "set": name,
        "timeline": timeline,
        "databases": sorted(rehearsal.databases),
        "left_alone": sorted(others - rehearsal.databases),
        "to": _moment(replay.last),
        "documents": documents,
        "operations": replay.applied,
        "checked": sorted(judged),
        "unchecked": sorted(set(catalog.options) - set(judged)),
        "seconds": clock.laps,
    }


def _entries(path, keys):
    """Return the entries of a file of oplog, also of one that the archive still writes to."""
    if _segments.is_segment(path):
        return _files.entries(path, lambda path: _segments.chunks(path, keys))
    return _files.entries(path, lambda path: _files.chunks(path, keys))


class _Clock:
    """What the parts of something took, in seconds."""

    def __init__(self):
        self.laps = {}
        self._last = time.monotonic()

    def lap(self, name):
        now = time.monotonic()
        self.laps[name] = round(self.laps.get(name, 0) + now - self._last, 2)
        self._last = now


def _replay(send, catalog, consistent):
    return _replaying.replay(
        send, catalog, consistent, _oplog.operations, _oplog.is_ours, _digest.put_back
    )


def _feed(replay, sources, consistent, limit, judge=None):
    """Feed entries until the first beyond ``limit``; return whether there was one, or the limit.

    ``judge`` is called where all is as it was at the end of the dump.
    """
    reached, beyond = False, _oplog.beyond
    for entry in _oplog.chain(sources):
        if entry["ts"] > consistent:
            if judge:
                judge()
                judge = None
            if limit is not None and beyond(entry, limit):
                reached = True
                break
        replay.feed(entry)
    if judge:
        judge()
    replay.flush()
    return reached or replay.last["ts"] == limit


def _check_target(doing, backup, target, limit, reached, last):
    if limit is None:
        return
    begin, end = backup.manifest["to"], _moment(last)
    too_early = (
        limit < _oplog.moment(begin["time"])
        if isinstance(limit, Timestamp)
        else limit < datetime.datetime.fromisoformat(begin["wall"])
    )
    if too_early:
        raise CommandExecutionError(
            f"{doing}: {target} is before {begin['time']} ({begin['wall']}), the earliest that this"
            " backup can restore: take an older one"
        )
    if not reached:
        raise CommandExecutionError(
            f"{doing}: {target} is after {end['time']} ({end['wall']}), where the oplog given ends:"
            " give the files that follow"
        )


def _may_remove(doing, client, databases, drop, confirm, name):
    """Return which databases are in the way of a restore and may be removed."""
    standing = _load.standing(client, databases)
    if not standing:
        return []
    there = "; ".join(
        f"{database} with {len(names)} collections and about {sum(names.values())} documents"
        for database, names in standing.items()
    )
    if not drop:
        raise CommandExecutionError(
            f"{doing}: {name} has what would be restored: {there}. Restore into another set, or say"
            f" drop=True confirm={name} to remove that first"
        )
    if confirm != name:
        raise CommandExecutionError(
            f"{doing}: this removes from {name}: {there}; to do it say confirm={name}"
        )
    return list(standing)


def _load_documents(client, backup, catalog):
    count = 0

    def documents(namespace):
        nonlocal count
        for chunk in backup.documents(namespace):
            for document in _digest.split(chunk):
                count += 1
                yield document

    for namespace, options in catalog.options.items():
        _load.create(client, namespace, options)
        _load.insert(
            client,
            namespace,
            documents(namespace),
            _digest.put_back,
            None if catalog.is_capped(namespace) else _digest.order,
        )
    return count


def _compare(client, backup, catalog):
    """Return of each collection whose state the backup knows whether it is that now."""
    judged = {}
    for namespace, state in backup.manifest["collections"].items():
        if state.get("hash") is None:
            continue
        total = _digest.start()
        if namespace in catalog.options:
            for chunk in _load.documents(client, namespace):
                for document in _digest.split(chunk):
                    total.add(document)
        judged[namespace] = (total.documents, total.hash) == (state["documents"], state["hash"])
    return judged
