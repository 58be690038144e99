"""
Look after the roles and users of a MongoDB replica set.

Where the server is and who logs in is set as for the rest of the module.

:depends: PyMongo 4 in Salt's Python (``salt-pip install pymongo``); MongoDB 4.4 or newer.
"""

from salt.exceptions import CommandExecutionError

try:
    from pymongo.errors import PyMongoError

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

__virtualname__ = "mongodb"

# Seconds for one command that the whole set takes part in.
PATIENCE = 30
MAJORITY = {"w": "majority", "wtimeout": 20_000}


def __virtual__():
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return __virtualname__


def _settings():
    return __utils__["mongodb_login.settings"](dict(__opts__), dict(__pillar__))


def _secret(path):
    return __utils__["mongodb_login.secret"](dict(__pillar__), path)


def _login(settings, user, password_pillar, database):
    return __utils__["mongodb_login.login"](
        settings, dict(__pillar__), user, password_pillar, database
    )


def _write(client, database, command, name, **arguments):
    """Run a command that a majority has to acknowledge."""
    answer = client[database].command(command, name, writeConcern=MAJORITY, **arguments)
    __utils__["mongodb.acknowledged"](answer)


def _primary(doing):
    """Yield a client of the primary of this node's set."""
    return __utils__["mongodb_login.session"](
        doing,
        dict(__opts__),
        dict(__pillar__),
        __utils__["mongodb.connect_primary"],
        __utils__["mongodb.explain"],
        patience=PATIENCE,
    )


def access():
    """
    Return what this module's login may do now.

    Returns a dict of ``level``, ``user`` (who logs in, or None), ``primary`` and ``reason``.

    ``level`` is ``granted`` (the primary takes the login, or asks for none), ``open`` (there
    is no user yet and this node, the primary, lets the first one be made from here: the
    localhost exception), ``refused`` (the primary does not take the login) or ``unavailable``
    (no server, no set or no primary; ``reason`` says which).

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.access
    """
    settings = _settings()
    result = {
        "level": "unavailable",
        "user": settings["user"],
        "primary": None,
        "reason": None,
    }
    logins = list(__utils__["mongodb_login.logins"](settings, dict(__pillar__)))
    try:
        here = __utils__["mongodb.hello"](settings["address"], settings["timeout"], settings["tls"])
        result["primary"] = here["primary"]
        if not here["writable"] and not here["primary"]:
            what = "no primary" if here["initialized"] else "no replica set is initiated here"
            return {**result, "reason": what}
        with __utils__["mongodb.connect_primary"](
            settings["address"], settings["timeout"], PATIENCE, logins, settings["tls"]
        ) as (client, accepted):
            if accepted:
                return {**result, "level": "granted"}
            if here["writable"] and __utils__["mongodb.lets_strangers_in"](client):
                return {**result, "level": "open", "reason": "there is no user yet"}
    except PyMongoError as err:
        return {**result, "reason": __utils__["mongodb.explain"](err)}
    reason = (
        f"{here['primary']} refuses the login of {settings['user']} with the password at"
        f" pillar {settings['password_pillar']}"
    )
    return {**result, "level": "refused", "reason": reason}


def wait_access(timeout=60):
    """
    Wait until users can be looked at and changed; return ``mongodb.access``, whatever it is.

    timeout
        Seconds to wait for a primary and, on other nodes than the primary, for the first user.
        On the primary nothing is waited for that does not come by itself.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.wait_access
    """

    for _ in __utils__["mongodb.turns"](timeout):
        found = access()
        may_come = found["level"] == "unavailable" or (
            found["level"] == "refused" and not __salt__["mongodb.is_primary"]()
        )
        if not may_come:
            break
    return found


def role_info(name, database="admin"):
    """
    Return a role that was made here, or None; those that MongoDB brings are not told.

    name
        Name of the role.

    database
        The database that the role belongs to.

    Returns a dict of ``name``, ``database``, ``privileges`` (see ``mongodb.role_create``) and
    ``roles`` (a list of ``role@db`` that it inherits from).

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_info counterapp counterapp
    """
    with _primary(f"look up role {name}") as client:
        return __utils__["mongodb.role"](client, database, name)


def role_create(name, privileges, database="admin", roles=()):
    """
    Create a role; return True.

    name
        Name of the role.

    privileges
        List of dicts of ``resource`` and ``actions``, as MongoDB has them: a resource is a dict
        of ``db`` and ``collection``, or ``{cluster: true}``; actions are names such as ``find``.

    database
        The database that the role will belong to. One of another than ``admin`` can name
        resources of its own database only.

    roles
        List of roles that it inherits from: names (of ``database``) or dicts of ``role`` and
        ``db``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_create looker \
            '[{"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find"]}]'
    """
    return _write_role("createRole", f"create role {name}", name, privileges, database, roles)


def role_update(name, privileges, database="admin", roles=()):
    """
    Give a role exactly these privileges and roles; return True. Who has it has them at once.

    name, privileges, database, roles
        As for ``mongodb.role_create``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_update looker \
            '[{"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find"]}]'
    """
    return _write_role("updateRole", f"change role {name}", name, privileges, database, roles)


def _write_role(command, doing, name, privileges, database, roles):
    with _primary(doing) as client:
        _write(
            client,
            database,
            command,
            name,
            privileges=__utils__["mongodb.normal_privileges"](privileges),
            roles=__utils__["mongodb.normal_roles"](roles),
        )
    return True


def role_remove(name, database="admin", confirm=None):
    """
    Remove a role, from all who have it as well; return True.

    name, database
        The role and the database it belongs to.

    confirm
        The role's name once more: nothing happens without it.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.role_remove looker confirm=looker
    """
    return _drop("dropRole", "role", name, database, confirm)


def _drop(command, kind, name, database, confirm):
    if confirm != name:
        raise CommandExecutionError(
            f"this removes {kind} {name} of {database}; to do it say confirm={name}"
        )
    with _primary(f"remove {kind} {name}") as client:
        _write(client, database, command, name)
    return True


def user_list(database=None):
    """
    Return the users, each as ``name``, ``database``, ``roles`` (a list of ``role@db``) and
    ``mechanisms`` (a list: how it can log in).

    database
        Only the users of this database; None for all.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_list
    """
    with _primary("list users") as client:
        return __utils__["mongodb.users"](client, database)


def user_info(name, database="admin"):
    """
    Return one user as ``mongodb.user_list`` has it, or None when there is none.

    name
        Name of the user.

    database
        The database that the user belongs to.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_info counterapp counterapp
    """
    with _primary(f"look up user {name}") as client:
        found = __utils__["mongodb.users"](client, database, name)
    return found[0] if found else None


def user_exists(name, database="admin"):
    """
    Return whether the user ``name`` of ``database`` exists.

    name, database
        The user, and the database that it is known in.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_exists counterapp counterapp
    """
    return user_info(name, database) is not None


def user_login(name, password_pillar, database="admin"):
    """
    Return whether the set takes the user's login.

    name
        Name of the user.

    password_pillar
        Path of the password in pillar, e.g. ``secrets:mongodb_app``.

    database
        The database that the user belongs to.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_login counterapp secrets:mongodb_app counterapp
    """
    settings = _settings()
    login = _login(settings, name, password_pillar, database)
    with (
        __utils__["mongodb_login.errors"](f"log in as {name}", __utils__["mongodb.explain"]),
        __utils__["mongodb.connect_primary"](
            settings["address"], settings["timeout"], PATIENCE, [login], settings["tls"]
        ) as (_, accepted),
    ):
        return accepted


def key_login(key_pillar):
    """
    Return whether this node's mongod takes the key of a replica set's keyfile for a member's.

    key_pillar
        Path of the key in pillar, e.g. ``secrets:mongodb_keyfile``.

    Members log in to each other as the user ``__system`` of ``local``, with the key as password.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.key_login secrets:mongodb_keyfile
    """
    settings = _settings()
    login = _login(settings, "__system", key_pillar, "local")
    with (
        __utils__["mongodb_login.errors"]("log in as a member", __utils__["mongodb.explain"]),
        __utils__["mongodb.connect"](
            settings["address"], settings["timeout"], PATIENCE, [login], settings["tls"]
        ) as (_, accepted),
    ):
        return accepted


def user_create(name, password_pillar, database="admin", roles=(), mechanisms=None):
    """
    Create a user; return True.

    name
        Name of the user.

    password_pillar
        Path of the password in pillar, e.g. ``secrets:mongodb_app``.

    database
        The database that the user will belong to and log in at.

    roles
        List of role names (of ``database``) or dicts of ``role`` and ``db``.

    mechanisms
        List of the mechanisms that it can log in by, e.g. ``[SCRAM-SHA-256]``; the server's own
        unless given.

    The first user of a set can be made on the primary only, through the localhost exception:
    in ``admin``, with a role that may make further users, e.g. ``root``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_create counterapp secrets:mongodb_app counterapp '[readWrite]'
    """
    password = _secret(password_pillar)
    with _primary(f"create user {name}") as client:
        _write(
            client,
            database,
            "createUser",
            name,
            pwd=password,
            roles=__utils__["mongodb.normal_roles"](roles),
            **({"mechanisms": mechanisms} if mechanisms else {}),
        )
    return True


def user_update_password(name, password_pillar, database="admin"):
    """
    Give a user the password that the pillar holds; return True.

    name, password_pillar, database
        As for ``mongodb.user_create``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_update_password counterapp secrets:mongodb_app counterapp
    """
    password = _secret(password_pillar)
    with _primary(f"change the password of {name}") as client:
        _write(client, database, "updateUser", name, pwd=password)
    return True


def user_update_roles(name, roles, database="admin"):
    """
    Give a user exactly these roles; return True.

    name, roles, database
        As for ``mongodb.user_create``.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_update_roles counterapp '[readWrite]' counterapp
    """
    with _primary(f"change the roles of {name}") as client:
        roles = __utils__["mongodb.normal_roles"](roles)
        _write(client, database, "updateUser", name, roles=roles)
    return True


def user_update_mechanisms(name, mechanisms, database="admin", password_pillar=None):
    """
    Let a user log in by exactly these mechanisms; return True.

    name, mechanisms, database
        As for ``mongodb.user_create``.

    password_pillar
        As for ``mongodb.user_create``; needed where a mechanism is added, for the server keeps
        what it checks a password by for each of them.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_update_mechanisms counterapp '[SCRAM-SHA-256]' counterapp
    """
    password = {"pwd": _secret(password_pillar)} if password_pillar else {}
    with _primary(f"change how {name} logs in") as client:
        _write(client, database, "updateUser", name, mechanisms=list(mechanisms), **password)
    return True


def user_remove(name, database="admin", confirm=None):
    """
    Remove a user; return True.

    name, database
        The user and the database it belongs to.

    confirm
        The user's name once more: nothing happens without it.

    CLI Example:

    .. code-block:: bash

        salt db-1 mongodb.user_remove counterapp counterapp confirm=counterapp
    """
    return _drop("dropUser", "user", name, database, confirm)
