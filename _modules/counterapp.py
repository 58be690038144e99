"""
Releases of counterapp on this node: install, switch, look, remove; the app's own health; the clock.

Under the root (``/opt/counterapp``) lie::

    releases/<version>/      manifest.json, requirements.txt, static/, venv/
    current                  link to releases/<the active version>
    previous/<version>       link to the release that <version> replaced when it was activated

Everything belongs to root and nothing is writable by the app's user. A release appears under its
name only when it is complete, and never changes afterwards.

**An archive is believed for its SHA-256 and size alone**, which whoever asks for it must have from
somewhere else than where it lies; here that is the pillar ``releases:<version>``, which the master
makes when a release is published. It is copied to this node's disk, and only the copy is looked at.
Root installs the wheels, which runs no code of theirs. From then on no Python of the release's
virtual environment is ever started as root: a ``.pth`` file in it would have whatever it likes run.

**The command to run** is ``<root>/current/venv/bin/gunicorn``. Its first line names
``releases/<version>/venv/bin/python``, so a process goes on with the files of the release that it
was started from while ``current`` is switched under it. ``current/venv/bin/python -m gunicorn``
works too, but looks its modules up through the link: what it imports, and what a worker that it
replaces runs, is of the new release as soon as the link is switched, restart or not.

Settings, each an argument, else the minion's configuration or pillar ``counterapp.<name>``, else
pillar ``web:<name>``: ``root``; ``python`` (the interpreter of the releases' virtual
environments, default ``/usr/bin/python3``); ``user`` (the app's, default ``counterapp``; what is
made is checked as this user); ``url`` (of the app on this node; default
``http://<the node's address in the pillar's topology, else 127.0.0.1>:<web:port, else 8000>``).
"""

import contextlib
import datetime
import errno
import fcntl
import http.client
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.request

from salt.exceptions import CommandExecutionError

__virtualname__ = "counterapp"

DEFAULT_ROOT = "/opt/counterapp"
DEFAULT_PYTHON = "/usr/bin/python3"
DEFAULT_USER = "counterapp"
_POLL = 0.2
_BUILDING = ".new-"
_DISCARDED = ".gone-"
#: What the disk must have beyond the files themselves.
_SPARE_BYTES = 32 * 2**20
#: Without site-packages on its path a Python reads what is installed there and runs none of it.
_ASK_VERSION = """
import importlib.metadata, sys
found = importlib.metadata.distributions(path=[sys.argv[1]], name=sys.argv[2])
print(*(each.version for each in found))
"""
_COUNTER = re.compile(r"(?:[A-Za-z0-9_.-]{3,64}/)?[A-Za-z0-9_.-]{3,64}\Z")
#: A line of the metrics, and a label of one.
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+)\Z")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = {"n": "\n"}
_DURATION = "counterapp_request_duration_seconds"
#: The counter that the app's page shows.
_SHARED = "default/shared"


def __virtual__():
    return __virtualname__


def _setting(name, given, default=None):
    if given is not None:
        return given
    for key in (f"counterapp.{name}", f"counterapp:{name}", f"web:{name}"):
        configured = __salt__["config.get"](key, default=None)
        if configured not in (None, ""):
            return configured
    return default


def _root(given):
    root = pathlib.Path(_setting("root", given, DEFAULT_ROOT))
    if not root.is_absolute():
        raise CommandExecutionError(f"the root of the releases must be an absolute path: {root}")
    return root


def _release(function, *args):
    call = __utils__[f"release.{function}"]
    try:
        return call(*args)
    except ValueError as error:
        raise CommandExecutionError(str(error)) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise CommandExecutionError(f"{error.strerror or error}{where}") from error


def _version(version):
    return _release("check_version", version)


def _local(archive):
    """Return the local path of an archive, fetching it from the file server."""
    archive = str(archive)
    if not archive.startswith("salt://"):
        return archive
    local = __salt__["cp.cache_file"](archive)
    if not local:
        raise CommandExecutionError(f"the master's file server has no {archive}")
    return local


def _fetch(local, sha256, size):
    """Return an open copy of an archive on this node's disk that nobody else can change."""
    scratch = pathlib.Path(__opts__["cachedir"])
    scratch.mkdir(mode=0o750, parents=True, exist_ok=True)
    return _release("fetch", local, sha256, size, str(scratch))


def _run(what, argv):
    """Run a command of an installation; its last words are the error's when it fails."""
    outcome = __salt__["cmd.run_all"](
        argv,
        python_shell=False,
        ignore_retcode=True,
        umask="022",
        cwd="/",
        # The machine's own pip settings could bring an index back in.
        env={"PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"},
    )
    if outcome["retcode"]:
        words = (outcome["stderr"].strip() or outcome["stdout"].strip()).splitlines()[-8:]
        raise CommandExecutionError(
            f"{what} failed with exit code {outcome['retcode']}: " + "\n".join(words)
        )
    return outcome["stdout"].strip()


def _prepare(root):
    """Make the folders, and refuse ones in which somebody else could exchange a release."""
    for folder in (root, root / "releases", root / "previous"):
        try:
            folder.mkdir(mode=0o755, parents=True)
        except FileExistsError:
            status = folder.stat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise CommandExecutionError(
                    f"{folder} must belong to uid {os.geteuid()} and be writable by nobody else:"
                    f" chown {os.geteuid()} {folder}; chmod go-w {folder}"
                ) from None
        else:
            folder.chmod(0o755)


@contextlib.contextmanager
def _locked(root):
    """Hold the root for this process alone; the lock goes when the process does."""
    try:
        _prepare(root)
        handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandExecutionError(f"{root} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandExecutionError(
                f"another installation or switch of a release is at work in {root}: try again"
                " when it has ended"
            ) from error
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise CommandExecutionError(f"{error.strerror or error}{where}") from error
    finally:
        os.close(handle)


def _discard(folder):
    """Make a folder under releases/ vanish in one step, then delete it."""
    # A killed installation's pip may still be writing: under another name its paths are gone.
    gone = folder.with_name(f"{_DISCARDED}{secrets.token_hex(4)}")
    folder.rename(gone)
    shutil.rmtree(gone)


def _clean(root):
    """Delete what killed runs left behind. Only ever called with the lock held."""
    for entry in (root / "releases").iterdir():
        if entry.name.startswith(_BUILDING):
            _discard(entry)
        elif entry.name.startswith(_DISCARDED):
            shutil.rmtree(entry)


def _manifest(folder):
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CommandExecutionError(
            f"{folder}/manifest.json is damaged ({error}): remove the release and install it again"
        ) from error


def verify(archive, sha256, size):
    """
    Check a release archive: whether it is what was published, its paths, every file's SHA-256.

    archive
        Path of the archive, or a ``salt://`` URL.
    sha256, size
        SHA-256 and bytes of what was published, from somewhere else than the archive: here from
        the pillar ``releases:<version>``, or from ``salt-run release.list``.

    Returns its manifest: ``name``, ``version``, ``commit``, ``pythons`` (list), ``files``
    (path to SHA-256).

    Raises CommandExecutionError naming what is wrong with it.

    CLI Example:

    .. code-block:: bash

        salt 'web-1' counterapp.verify /srv/shared/releases/counterapp-1.4.0.tar.gz \\
            sha256=f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51 size=14409126
    """
    local = _local(archive)
    with _fetch(local, sha256, size) as copy:
        return _release("inspect", local, copy)["manifest"]


def note(archive):
    """
    Vouch for an archive on a node without a master, so that this node installs it.

    Adds its SHA-256 and size to ``releases.sls`` in ``pillar`` of ``counterapp_config`` (default
    ``/etc/salt/counterapp``), as ``salt-run release.publish`` does on a master.

    archive
        Path of an archive of which you know that it is good.

    Returns ``{"version", "sha256", "size", "changed"}``.

    Raises CommandExecutionError when the node has a master, when the archive is not whole, or when
    another archive of that version was noted before.

    CLI Example:

    .. code-block:: bash

        salt-call --local counterapp.note /srv/shared/releases/counterapp-0.1.0.tar.gz
    """
    if __opts__["file_client"] != "local":
        raise CommandExecutionError(
            "this node has its pillar from a master: run salt-run release.publish there"
        )
    found = _release("digest", archive)
    with _fetch(archive, **found) as copy:
        version = _release("inspect", archive, copy)["manifest"]["version"]
    folder = pathlib.Path(__opts__.get("counterapp_config", "/etc/salt/counterapp"), "pillar")
    changed = _release("note", folder, version, found["sha256"], found["size"])
    return {"version": version, **found, "changed": changed}


def install(archive, sha256, size, version=None, root=None, python=None, user=None):
    """
    Install a release from its archive, without any network, and without activating it.

    The archive is copied and verified, its wheels for this node's Python are installed into a
    virtual environment of the release's own, that is checked as the app's user, and only then does
    the release appear under its name. What killed installations left behind is deleted.

    archive
        Path of the archive, or a ``salt://`` URL.
    sha256, size
        As for :py:func:`verify`.
    version
        Refuse an archive of another version than this.
    root, python, user
        See the top of this page.

    Returns ``{"version", "commit", "path", "python", "installed"}``; ``installed`` is False when
    the same release was there already.

    Raises CommandExecutionError when the archive is not what was published, is not acceptable, is
    of another version, does not support the node's Python, has other content than the installed
    release of its version, when the disk has no room, when the app's user is not there, or when
    another installation is at work. Nothing of the release is left then.

    CLI Example:

    .. code-block:: bash

        salt 'web-1' counterapp.install /srv/shared/releases/counterapp-1.4.0.tar.gz \\
            sha256=f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51 size=14409126
    """
    local = _local(archive)
    with _fetch(local, sha256, size) as copy:
        return _install(archive, copy, version, _root(root), python, user)


def _install(archive, copy, version, root, python, user):
    python = str(_setting("python", python, DEFAULT_PYTHON))
    found = _release("inspect", archive, copy)
    manifest = found["manifest"]
    if version is not None and manifest["version"] != _version(version):
        raise CommandExecutionError(
            f"{archive} is release {manifest['version']}, not {version}: name the right archive"
        )
    result = {
        "version": manifest["version"],
        "commit": manifest["commit"],
        "path": str(root / "releases" / manifest["version"]),
        "python": python,
        "installed": False,
    }
    as_user = _as_user(_setting("user", user, DEFAULT_USER))
    with _locked(root):
        _clean(root)
        final = root / "releases" / manifest["version"]
        if final.exists():
            present = _manifest(final)
            if present is None:
                raise CommandExecutionError(
                    f"{final} is there but is no release: remove it, then install again"
                )
            if present != manifest:
                raise CommandExecutionError(
                    f"release {manifest['version']} is installed already with other content"
                    f" (commit {present.get('commit')}, the archive has {manifest['commit']});"
                    " a release never changes: build the new content under a new version"
                )
            return result
        minor = _python_version(python)
        if minor not in manifest["pythons"]:
            raise CommandExecutionError(
                f"release {manifest['version']} supports Python {', '.join(manifest['pythons'])},"
                f" but {python} is Python {minor}: set counterapp.python to one of those, or"
                " build the release for it"
            )
        # Twice: the wheels' real size is known only once they are unpacked.
        _release("require_space", final.parent, found["size"] + _SPARE_BYTES)
        build = final.with_name(f"{_BUILDING}{manifest['version']}-{secrets.token_hex(4)}")
        build.mkdir(mode=0o755)
        build.chmod(0o755)
        try:
            _release("unpack", archive, copy, build)
            # Bytecode is about as large again as the source that it is made of.
            code = 2 * _release("installed_size", build / "wheels", minor)
            _release("require_space", build, code + _SPARE_BYTES)
            _make_venv(build, final, python, manifest, as_user)
            shutil.rmtree(build / "wheels")
            os.utime(build / "manifest.json")
            # A power cut must not leave a release whose files were never written.
            _run("writing the release to disk", ["sync", "-f", str(build)])
            build.rename(final)
        except BaseException as error:
            full = _is_full(build)
            _discard(build)
            if full and isinstance(error, CommandExecutionError):
                raise CommandExecutionError(
                    f"no space left on the disk of {root} while installing release"
                    f" {manifest['version']}; remove old releases ({error})"
                ) from error
            raise
        # What a killed installation had started may have gone on writing for a while.
        _clean(root)
    return {**result, "installed": True}


def _as_user(user):
    """Return the words that have a command run as the app's user, without any right of root's."""
    if os.geteuid() != 0:
        return []
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        raise CommandExecutionError(
            f"there is no user {user} to check a release as: apply the state web.config first, or"
            " set counterapp.user"
        ) from error
    return [
        "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all",
        "--no-new-privs",
        "--",
    ]


def _is_full(path):
    """Say whether a disk has run out of room or of inodes; programs seldom say so themselves."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize < 2**20 or (status.f_files and not status.f_favail)


def _python_version(python):
    return _run(
        f"asking {python} for its version",
        [python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
    )


def _make_venv(build, final, python, manifest, as_user):
    venv = build / "venv"
    inside = str(venv / "bin" / "python")
    _run(
        f"making a virtual environment with {python}",
        [python, "-I", "-m", "venv", "--without-pip", str(venv)],
    )
    # Salt's own pip, working for the other environment: the app's needs none, and gets none. It
    # is the last that runs there as root, while the environment is empty. It finds no package but
    # those that the lock names, and refuses wheels that do not get on with each other.
    _run(
        f"installing the wheels of release {manifest['version']}",
        [
            *(sys.executable, "-I", "-m", "pip", "--isolated", "--disable-pip-version-check"),
            *("--python", inside, "install", "--quiet", "--no-index", "--no-cache-dir"),
            *("--only-binary=:all:", "--require-hashes"),
            *("--find-links", str(build / "wheels")),
            *("--requirement", str(build / "requirements.txt")),
        ],
    )
    # /readyz answers with this version, and that is how an activation is judged.
    (packages,) = (venv / "lib").glob("python*/site-packages")
    packaged = _run(
        f"looking for {manifest['name']} in its release",
        [*as_user, inside, "-I", "-S", "-c", _ASK_VERSION, str(packages), manifest["name"]],
    )
    if packaged != manifest["version"]:
        raise CommandExecutionError(
            f"the archive says release {manifest['version']}, but the {manifest['name']} wheel in"
            f" it is version {packaged}: build the release again"
        )
    # Scripts name their interpreter by its full path. They are made here and used there.
    old, new = os.fsencode(venv), os.fsencode(final / "venv")
    for path in [venv / "pyvenv.cfg", *(venv / "bin").iterdir()]:
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if old in content:
            path.write_bytes(content.replace(old, new))


def current(root=None):
    """
    Return the active release's version, or None when none was ever activated.

    root
        See the top of this page.

    Raises CommandExecutionError when ``current`` is something else than a link to a release.

    CLI Example:

    .. code-block:: bash

        salt 'web-*' counterapp.current
    """
    root = _root(root)
    return _link_version(root, root / "current")


def _link_version(root, link):
    try:
        target = link.parent / link.readlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise CommandExecutionError(f"{link} cannot be read: {error.strerror}") from error
        raise CommandExecutionError(
            f"{link} is not a link but a file or folder: remove it, then activate a release"
        ) from error
    folder = pathlib.Path(os.path.normpath(target))
    if folder.parent != root / "releases":
        raise CommandExecutionError(
            f"{link} points to {folder}, which is no release under {root}/releases: remove it,"
            " then activate a release"
        )
    return folder.name


def previous(root=None):
    """
    Return the version that the active release replaced, or None.

    None when nothing was active before it, or when that release has been removed since.

    root
        See the top of this page.

    CLI Example:

    .. code-block:: bash

        salt 'web-*' counterapp.previous
    """
    root = _root(root)
    active = current(root)
    if active is None:
        return None
    version = _link_version(root, root / "previous" / active)
    if version is None or _manifest(root / "releases" / version) is None:
        return None
    return version


def releases(root=None):
    """
    Return the installed releases, oldest installation first.

    Each is ``{"version", "commit", "current": bool, "previous": bool, "installed"}``, the last an
    ISO 8601 time in UTC.

    root
        See the top of this page.

    CLI Example:

    .. code-block:: bash

        salt 'web-*' counterapp.releases
    """
    root = _root(root)
    active, before = current(root), previous(root)
    try:
        folders = sorted((root / "releases").iterdir())
    except FileNotFoundError:
        return []
    found = []
    for folder in folders:
        if folder.name.startswith(".") or (manifest := _manifest(folder)) is None:
            continue
        when = (folder / "manifest.json").stat().st_mtime_ns
        entry = {
            "version": folder.name,
            "commit": manifest.get("commit"),
            "current": folder.name == active,
            "previous": folder.name == before,
            "installed": datetime.datetime.fromtimestamp(when // 10**9, datetime.UTC).isoformat(),
        }
        found.append((when, entry))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]


def superseded(keep, root=None):
    """
    Return the versions that can go when ``keep`` releases are to stay, oldest first.

    The active release and the one before it always stay and are counted; the newest installed
    fill up the rest.

    keep
        How many releases stay, at least 1.
    root
        See the top of this page.

    Raises CommandExecutionError when ``keep`` is no whole number of at least 1.

    CLI Example:

    .. code-block:: bash

        salt 'web-*' counterapp.superseded 3
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise CommandExecutionError(
            f"keep must be a whole number of releases, at least 1, not {keep!r}"
        )
    found = releases(root)
    staying = [entry for entry in found if entry["current"] or entry["previous"]]
    others = [entry["version"] for entry in found if entry not in staying]
    room = max(0, keep - len(staying))
    return others[: len(others) - room] if room else others


def activate(version, root=None, remember=True):
    """
    Make an installed release the active one, in one step. The service is not restarted.

    version
        The release.
    root
        See the top of this page.
    remember
        Record the release that was active until now as the one before this (see
        :py:func:`previous`). Not wanted when a failed release is taken back.

    Returns ``{"version", "previous", "changed"}``: ``previous`` is the version that was active
    before this call (or None), ``changed`` is False when the release was active already.

    Raises CommandExecutionError when the release is not installed.

    CLI Example:

    .. code-block:: bash

        salt 'web-1' counterapp.activate 1.4.0
    """
    version = _version(version)
    root = _root(root)
    _require_installed(root, version)
    with _locked(root):
        before = current(root)
        if before == version:
            return {"version": version, "previous": before, "changed": False}
        # The record first: killed in between, the old release is still active with its own.
        if remember and before is not None:
            _point(root / "previous" / version, pathlib.Path("..", "releases", before))
        _point(root / "current", pathlib.Path("releases", version))
    return {"version": version, "previous": before, "changed": True}


def _require_installed(root, version):
    if _manifest(root / "releases" / version) is None:
        known = ", ".join(entry["version"] for entry in releases(root)) or "none"
        raise CommandExecutionError(
            f"release {version} is not installed under {root} (installed: {known})"
        )


def _point(link, target):
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def remove(version, root=None):
    """
    Delete an installed release that is not the active one.

    version
        The release.
    root
        See the top of this page.

    Returns ``{"version", "removed"}``; ``removed`` is False when there was no such release.

    Raises CommandExecutionError when it is the active release.

    CLI Example:

    .. code-block:: bash

        salt 'web-1' counterapp.remove 1.2.0
    """
    version = _version(version)
    root = _root(root)
    with _locked(root):
        if current(root) == version:
            raise CommandExecutionError(
                f"release {version} is the active one: activate another release first"
            )
        folder = root / "releases" / version
        if not folder.exists():
            return {"version": version, "removed": False}
        (root / "previous" / version).unlink(missing_ok=True)
        _discard(folder)
    return {"version": version, "removed": True}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


def _open(method, url, timeout):
    """Return ``(status, headers, body)``; an OSError tells why nobody answered."""
    if not url.startswith(("http://", "https://")):
        raise CommandExecutionError(f"{url!r} is no URL of the app: give http://HOST:PORT")
    # Nodes are asked straight, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    request = urllib.request.Request(
        url,
        method=method,
        data=b"" if method == "POST" else None,
        headers={"Accept": "application/json"},
    )
    try:
        try:
            response = opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            raw = response.read(2**20)
            status, headers = response.status, response.headers
    except urllib.error.URLError as error:
        if isinstance(error.reason, OSError):
            raise error.reason from error
        raise OSError(str(error.reason)) from error
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer ({type(error).__name__})") from error
    return status, headers, raw


def _request(method, url, timeout):
    """As ``_open``, with the JSON of the body, or {}."""
    status, headers, raw = _open(method, url, timeout)
    try:
        body = json.loads(raw)
    except ValueError:
        body = {}
    return status, headers, body if isinstance(body, dict) else {}


def _why(error):
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)


def _url(given, setting="url", port="web:port", default=8000):
    url = _setting(setting, given)
    if url is None:
        address = __salt__["config.get"](f"topology:nodes:{__opts__['id']}:address")
        url = f"http://{address or '127.0.0.1'}:{__salt__['config.get'](port) or default}"
    return str(url).rstrip("/")


def health(url=None, timeout=5):
    """
    Ask the app whether it serves and whether it can count a hit now. Nobody there is an answer.

    url
        Base URL of the app; see the top of this page for the default.
    timeout
        Seconds that each of the two questions may take.

    Returns ``{"url", "live": bool, "ready": bool, "release", "node", "reason"}``: ``release`` and
    ``node`` are None when nobody answers, ``reason`` says why it is not ready (else empty).

    Raises CommandExecutionError when the URL is none.

    CLI Example:

    .. code-block:: bash

        salt 'web-*' counterapp.health
    """
    base = _url(url)
    found = {
        "url": base,
        "live": False,
        "ready": False,
        "release": None,
        "node": None,
        "reason": "",
    }
    try:
        status, headers, _ = _request("GET", f"{base}/livez", timeout)
        found["live"] = status == 200
        found["release"] = headers.get("X-Release")
        found["node"] = headers.get("X-Served-By")
        status, headers, body = _request("GET", f"{base}/readyz", timeout)
    except OSError as error:
        found["reason"] = _why(error)
        return found
    found["release"] = body.get("release") or headers.get("X-Release")
    found["node"] = body.get("node") or headers.get("X-Served-By")
    found["ready"] = status == 200 and body.get("ready") is True
    if not found["ready"]:
        words = (body.get(key) for key in ("reason", "detail", "title"))
        found["reason"] = next(filter(None, words), f"/readyz answered {status}")
    return found


def wait_ready(timeout=60, release=None, hold=0, url=None):
    """
    Wait until the app on this node is ready.

    timeout
        Seconds that it may take to become ready.
    release
        Only this release counts; another one that answers is waited out.
    hold
        Seconds for which it must then stay ready without a break. A break starts them anew, with
        ``timeout`` + ``hold`` seconds for everything.
    url
        Base URL of the app; see the top of this page for the default.

    Returns what :py:func:`health` does, with ``waited`` (seconds) added.

    Raises CommandExecutionError with the last reason when it is not ready in time.

    CLI Example:

    .. code-block:: bash

        salt 'web-1' counterapp.wait_ready timeout=30 release=1.4.0 hold=3
    """
    for name, value in (("timeout", timeout), ("hold", hold)):
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise CommandExecutionError(f"{name} must be a number of seconds, not {value!r}")
    start = time.monotonic()
    deadline = start + timeout + hold
    since = None
    while True:
        asked = time.monotonic()
        # The app takes up to 1.5 s to find out what it lacks: the last look shall hear that.
        seen = health(url, timeout=max(2, min(5, deadline - asked)))
        reason = seen["reason"]
        if seen["ready"] and release is not None and seen["release"] != release:
            reason = f"release {seen['release']} answers, not {release}"
        if reason:
            since = None
        else:
            since = since or asked
            if time.monotonic() - since >= hold:
                return {**seen, "waited": round(time.monotonic() - start, 1)}
        if time.monotonic() >= deadline:
            held = f" for {hold} s" if hold and not reason else ""
            raise CommandExecutionError(
                f"{seen['url']} was not ready{held} within {timeout} s: "
                + (reason or "it became ready too late")
            )
        time.sleep(_POLL)


def latency(url=None, timeout=5):
    """
    Return how long the app on this node took to answer, by route, since its process began.

    Compare two readings only while ``process`` is the same: another one began with nothing. With
    several workers it is whichever of them answers.

    url
        Base URL of the app's metrics. Default: ``counterapp.metrics_url``, else the node's address
        and ``web:metrics_port``, else 8001.
    timeout
        Seconds to wait for the answer.

    Returns ``process`` (PID of the worker), ``release``, ``node``, ``routes`` and ``not_found``
    (requests that were answered with 404 because there is no route for them). Each route has
    ``buckets`` (by seconds, as text, how many requests took no longer; the last is ``+Inf``) and
    ``seconds`` (all requests together).

    Raises CommandExecutionError when the metrics cannot be read, or are not the app's.

    CLI Example:

    .. code-block:: bash

        salt 'web-*' counterapp.latency
    """
    target = f"{_url(url, 'metrics_url', 'web:metrics_port', 8001)}/metrics"
    try:
        status, _, raw = _open("GET", target, timeout)
    except OSError as error:
        raise CommandExecutionError(f"GET {target}: {_why(error)}") from error
    if status != 200:
        raise CommandExecutionError(f"GET {target} answered {status}")
    found = {"process": None, "release": None, "node": None, "routes": {}, "not_found": 0}
    for name, labels, value in _samples(raw.decode("utf-8", "replace")):
        if name == "counterapp_build_info":
            found.update({key: labels.get(key) for key in ("process", "release", "node")})
        elif name == "counterapp_requests_total":
            if (labels.get("route"), labels.get("status")) == ("none", "404"):
                found["not_found"] += int(value)
        elif name in (f"{_DURATION}_bucket", f"{_DURATION}_sum"):
            route = found["routes"].setdefault(labels["route"], {"buckets": {}, "seconds": 0.0})
            if name.endswith("_sum"):
                route["seconds"] = value
            else:
                route["buckets"][labels["le"]] = int(value)
    if found["process"] is None:
        raise CommandExecutionError(f"{target} has no metrics of counterapp")
    return found


def _samples(text):
    """Yield name, labels and value of each line of Prometheus' text format."""
    for line in text.splitlines():
        if sample := _SAMPLE.match(line):
            labels = {
                key: re.sub(r"\\(.)", lambda escaped: _ESCAPED.get(escaped[1], escaped[1]), value)
                for key, value in _LABEL.findall(sample[2] or "")
            }
            yield sample[1], labels, float(sample[3])


def clock():
    """
    Return what time this node has: seconds since 1970, with fractions, as its own clock tells.

    The master asks every node for it and names the one whose clock is wrong
    (``salt-run fleet.status``).

    CLI Example:

    .. code-block:: bash

        salt '*' counterapp.clock
    """
    return time.time()


def _counter(given):
    counter = _SHARED if given is None else str(given)
    if not _COUNTER.match(counter):
        raise CommandExecutionError(
            f"{given!r} is no counter: 3 to 64 letters, digits, '_', '.' or '-', and before them "
            "another namespace than 'default' in the same way and a '/'"
        )
    return counter if "/" in counter else f"default/{counter}"


def _counted(method, target, timeout, member):
    try:
        status, headers, body = _request(method, target, timeout)
    except OSError as error:
        raise CommandExecutionError(f"{method} {target}: {_why(error)}") from error
    if status != 200 or member not in body:
        words = body.get("detail") or body.get("title") or f"no {member} in the answer"
        raise CommandExecutionError(f"{method} {target} answered {status}: {words}")
    return headers, body


def hit(url=None, counter=None, timeout=10):
    """
    Count one hit, and return the app's answer. Never tried twice: a lost answer may have counted.

    url
        Base URL, of a node or of the balancers; see the top of this page for the default.
    counter
        Another counter than the shared one: 3 to 64 letters, digits, ``_``, ``.`` or ``-``; of
        another namespace than ``default`` as ``<namespace>/<key>``.
    timeout
        Seconds to wait for the answer.

    Returns ``{"namespace", "key", "value", "node", "release"}``.

    Raises CommandExecutionError when the hit was not acknowledged.

    CLI Example:

    .. code-block:: bash

        salt 'master' counterapp.hit http://192.168.33.200
    """
    target = f"{_url(url)}/api/v1/counters/{_counter(counter)}/hits"
    _, body = _counted("POST", target, timeout, "value")
    return {name: body.get(name) for name in ("namespace", "key", "value", "node", "release")}


def hits(url=None, counter=None, timeout=10):
    """
    Return a counter's state without counting.

    url
        Base URL, of a node or of the balancers; see the top of this page for the default.
    counter
        Another counter than the shared one, as for :py:func:`hit`.
    timeout
        Seconds to wait for the answer.

    Returns ``{"namespace", "key", "value", "nodes": {<node>: <count>}, "node", "release"}``.

    Raises CommandExecutionError when the app does not answer, or has no such counter. The shared
    one is there from the start.

    CLI Example:

    .. code-block:: bash

        salt 'master' counterapp.hits http://192.168.33.200
    """
    name = _counter(counter)
    member, path = ("total", "requests") if name == _SHARED else ("value", f"counters/{name}")
    headers, body = _counted("GET", f"{_url(url)}/api/v1/{path}", timeout, member)
    namespace, _, key = name.partition("/")
    return {
        "namespace": namespace,
        "key": key,
        "value": body[member],
        "nodes": body.get("nodes", {}),
        "node": headers.get("X-Served-By"),
        "release": headers.get("X-Release"),
    }
