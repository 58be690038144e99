"""
Declare MongoDB replica sets, their roles and their users.

Connection settings are those of the execution module ``mongodb``: see there.

.. code-block:: yaml

    rs0:
      mongodb.replica_set_present:
        - members:
          - db-1:27017
          - db-2:27017
          - {host: "db-3:27017", priority: 0, hidden: true}
        - initiator: db-1

    admin:
      mongodb.user_present:
        - admin: true
        - roles: [root]
        - password_pillar: secrets:mongodb_admin
        - require:
          - mongodb: rs0

    counters:
      mongodb.role_present:
        - database: counterapp
        - privileges:
          - resource: {db: counterapp, collection: counters}
            actions: [find, insert, update]
        - require:
          - mongodb: admin

    counterapp:
      mongodb.user_present:
        - database: counterapp
        - roles: [counters]
        - mechanisms: [SCRAM-SHA-256]
        - password_pillar: secrets:mongodb_app
        - require:
          - mongodb: counters
"""

import logging
import time

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "mongodb"

log = logging.getLogger(__name__)

# Where a run keeps the access that it was granted.
GRANTED = "counterapp.mongodb_access"
IN_SERVICE = ("PRIMARY", "SECONDARY", "ARBITER")


def __virtual__():
    if "mongodb.status" not in __salt__:
        return False, "the execution module mongodb is not available (is PyMongo installed?)"
    return __virtualname__


def replica_set_present(
    name,
    members,
    initiator=None,
    timeout=120,
    leaving=(),
    data_timeout=None,
    own_settings=False,
):
    """
    Ensure that the replica set exists with exactly these members and that this node serves in it.

    name
        Name of the set: what the servers have as ``replication.replSetName``.

    members
        List of all members, as they reach each other: each is ``host:port``, whose settings are
        left as they are, or a mapping of ``host`` and of ``votes``, ``priority``, ``hidden``,
        ``secondaryDelaySecs``, ``arbiterOnly`` and ``tags``: these hold then, with MongoDB's
        default for each that is left out.

    initiator
        The one node that may initiate the set, as minion ID or as ``host:port``. Any other
        waits for it. Needed only until the set exists.

    timeout
        Seconds for the whole of it.

    leaving
        List of those, ``host:port``, that may be members still and are about to be taken out: they
        are neither added nor reported.

    data_timeout
        Seconds for each new member to copy all data, which then do not count for ``timeout``.

    own_settings
        Whether only the settings of this node's own member are brought in force, where the state
        runs on each of them in turn.

    A set is initiated only when each listed member has answered and none belongs to a set.
    Where one does exist, this node waits to be taken up by it, and members that it lacks are
    added one at a time, on whichever node the state runs; they have no vote until they have all
    data. Then settings are changed, one member and so at most one vote at a time. A set with
    members that are not listed is left alone and reported: ``mongodb.remove_member`` takes one
    out. What could not be a set is refused, with the form that is right.
    """
    ret = {"name": name, "result": True, "comment": "", "changes": {}}
    changes = ret["changes"]
    deadline = time.monotonic() + timeout
    try:
        found = _survey(name, members, own_settings)
        if found is None and not __opts__["test"]:
            __salt__["mongodb.wait_reachable"](timeout)
            found = _surveyed(name, members, own_settings)
        refusal = _refusal(found, leaving)
        if refusal:
            return {**ret, "result": False, "comment": refusal}
        if found and _converged(found):
            return {**ret, "comment": f"{name} has its {len(members)} members, this node serves"}
        may_initiate = _is_initiator(initiator, found)
        hosts = [_host(member) for member in members]
        if found and found["first"] and not __opts__["test"]:
            return {**ret, "result": False, "comment": found["first"]}
        if __opts__["test"]:
            staying = [member for member in leaving if found and member in found["members"]]
            changes.update(_planned(found, [*hosts, *staying], may_initiate))
            return {**ret, "result": None, "comment": _plan(name, found, may_initiate, initiator)}

        # What was done is reported even when a later step fails.
        if found["unfinished"] or (may_initiate and not found["exists"]):
            __salt__["mongodb.initiate"](name, members, timeout=_left(deadline))
            changes.update(_difference(found, hosts, found["state"]))
            __salt__["mongodb.wait_healthy"](hosts, timeout=_left(deadline))
        elif found["exists"]:
            present = found["members"]
            for member in (each for each in members if _host(each) in found["missing"]):
                began = time.monotonic()
                __salt__["mongodb.add_member"](
                    member, found["contact"], timeout=_left(deadline), data_timeout=data_timeout
                )
                if data_timeout is not None:
                    deadline += time.monotonic() - began
                present = list(dict.fromkeys([*present, _host(member)]))
                changes.update(_difference(found, present, found["state"]))
            if found["differing"]:
                __salt__["mongodb.configure_members"](
                    [each for each in members if _host(each) in found["differing"]],
                    found["contact"],
                )
                changes["settings"] = _settings(found["differing"])
        __salt__["mongodb.wait_member"](max_lag=None, timeout=_left(deadline))

        after = _surveyed(name, members, own_settings)
        changes.update(_difference(found, after["members"], after["state"]))
        refusal = _refusal(after, leaving)
        if refusal or not _converged(after):
            reason = refusal or (
                f"missing: {', '.join(after['missing']) or 'nobody'}; other settings:"
                f" {', '.join(after['differing']) or 'of nobody'}; this node is"
                f" {after['own'] or 'none of the declared members that answer'}, {after['state']}"
            )
            return {**ret, "result": False, "comment": f"{name} is not as declared: {reason}"}
        ret["comment"] = f"{name} now has its {len(members)} members, this node serves"
    except (CommandExecutionError, SaltInvocationError) as err:
        ret["result"] = False
        ret["comment"] = str(err)
    return ret


def _host(member):
    return member["host"] if isinstance(member, dict) else member


def _settings(differing):
    """Return Salt's ``changes`` from the settings that are not as declared, by member."""
    return {
        when: {host: {key: each[when] for key, each in keys.items()} for host, keys in what.items()}
        for when in ("old", "new")
        for what in [differing]
    }


def _survey(name, members, own_settings):
    """Return ``mongodb.survey``, or None while this node's mongod does not answer."""
    try:
        forms = __utils__["mongodb_members.forms"](members)
        __utils__["mongodb.check_members"]([each["host"] for each in forms])
    except ValueError as err:
        raise SaltInvocationError(str(err)) from err
    if not __salt__["mongodb.ping"]():
        return None
    return _surveyed(name, members, own_settings)


def _surveyed(name, members, own_settings):
    found = __salt__["mongodb.survey"](name, members)
    if own_settings and found["differing"]:
        # The others' are for their own nodes, and with them what stands in their way.
        own = [each for each in members if _host(each) == found["own"]]
        others = [_host(each) for each in members if _host(each) != found["own"]]
        found = __salt__["mongodb.survey"](name, [*own, *others])
    return found


def _left(deadline):
    return max(1, deadline - time.monotonic())


def _refusal(found, leaving):
    if found is None:
        return None
    if found["conflicts"]:
        return "; ".join(found["conflicts"])
    surplus = [member for member in found["surplus"] if member not in leaving]
    if surplus:
        return (
            f"the set has members that are not declared: {', '.join(surplus)}. Declare them, or"
            f" take them out: mongodb.remove_member {surplus[0]} confirm={surplus[0]}"
        )
    return found["blocked"]


def _converged(found):
    return (
        found["exists"]
        and not found["missing"]
        and not found["differing"]
        and not found["unfinished"]
        and found["own"] is not None
        and found["state"] in IN_SERVICE
    )


def _is_initiator(initiator, found):
    if initiator is None:
        return False
    return initiator == __opts__["id"] or bool(found and initiator == found["own"])


def _difference(found, members, state):
    """Return Salt's ``changes`` from what was ``found`` to these members and this state."""
    changes = {}
    old = found or {"members": [], "state": None}
    if set(old["members"]) != set(members):
        changes["members"] = {"old": old["members"], "new": list(members)}
    if old["state"] != state:
        changes["state"] = {"old": old["state"], "new": state}
    return changes


def _planned(found, members, may_initiate):
    state = found["state"] if found else None
    if state not in IN_SERVICE:
        state = "PRIMARY" if may_initiate and not (found and found["exists"]) else "SECONDARY"
    changes = _difference(found, members, state)
    if found and found["differing"]:
        changes["settings"] = _settings(found["differing"])
    return changes


def _plan(name, found, may_initiate, initiator):
    if found is None:
        return (
            f"this node's mongod does not answer yet; once it does it would become part of {name}"
        )
    if found["exists"]:
        missing = ", ".join(found["missing"])
        words = [f"{missing} would be added to {name}"] if missing else []
        if found["differing"]:
            words.append(f"the settings of {', '.join(found['differing'])} would be changed")
        if found["first"]:
            words.append(f"refused now: {found['first']}")
        if found["state"] not in IN_SERVICE or missing or not words:
            words.append(f"would wait for this node to serve in {name}")
        return "; ".join(words)
    if may_initiate:
        silent = f", once {', '.join(found['silent'])} answers" if found["silent"] else ""
        return f"{name} would be initiated here{silent}"
    return f"would wait for {initiator or 'the initiator'} to initiate {name}"


def role_present(name, privileges, database="admin", roles=(), timeout=60):
    """
    Ensure that a role exists with exactly these privileges and inherited roles.

    name
        Name of the role.

    privileges
        List of dicts of ``resource`` and ``actions``, as MongoDB has them: a resource is a dict
        of ``db`` and ``collection``, or ``{cluster: true}``; actions are names such as ``find``.

    database
        The database that the role belongs to. One of another than ``admin`` can name resources
        of its own database only.

    roles
        List of roles that it inherits from: names (of ``database``) or dicts of ``role`` and
        ``db``.

    timeout
        Seconds to wait for a primary and for the user that Salt logs in as.

    The order of privileges and of their actions means nothing.
    """
    ret = {"name": name, "result": True, "comment": "", "changes": {}}
    try:
        wanted = _wanted_role(privileges, roles, database)
        access, current = _looked("mongodb.role_info", name, database, timeout)
        if access["level"] != "granted":
            result = None if __opts__["test"] and _may_come(access) else False
            return {
                **ret,
                "result": result,
                "comment": f"cannot look at role {name}: {access['reason']}",
            }
        what = f"role {name} of {database}"
        changes = _role_changes(current, name, wanted)
        if not changes or __opts__["test"]:
            return _found(ret, what, current, changes)

        write = __salt__[f"mongodb.role_{'update' if current else 'create'}"]
        write(name, privileges, database, list(roles))
        ret["changes"] = changes
        left = _role_changes(__salt__["mongodb.role_info"](name, database), name, wanted)
        return _verified(ret, what, current, left)
    except (CommandExecutionError, SaltInvocationError) as err:
        ret["result"] = False
        ret["comment"] = str(err)
    return ret


def _looked(look, name, database, timeout):
    """Return ``mongodb.wait_access`` and what ``look`` says, None unless access is granted.

    Whether it is granted is asked until it was in this run: each time is two more connections, one
    of them with a login, which is slow on purpose.
    """
    if access := __context__.get(GRANTED):
        try:
            return access, __salt__[look](name, database)
        except CommandExecutionError as err:
            # The primary may have gone meanwhile: wait for the next one as at first.
            log.info("looking again, once there is access: %s", err)
            __context__.pop(GRANTED)
    access = __salt__["mongodb.wait_access"](timeout=0 if __opts__["test"] else timeout)
    if access["level"] != "granted":
        return access, None
    current = __salt__[look](name, database)
    __context__[GRANTED] = access
    return access, current


def _found(ret, what, current, changes):
    """Return what a state says of a role or user that it does not touch."""
    if not changes:
        return {**ret, "comment": f"{what} is as declared"}
    comment = f"{what} would be {_done(current)}"
    return {**ret, "result": None, "changes": changes, "comment": comment}


def _verified(ret, what, current, left):
    """Return what a state says of a role or user that it has written, by what differs still."""
    if left:
        comment = f"{what} still differs in {', '.join(sorted(left))}"
        return {**ret, "result": False, "comment": comment}
    return {**ret, "comment": f"{what} was {_done(current)}"}


def _done(current):
    return "changed" if current else "created"


def _wanted_role(privileges, roles, database):
    try:
        normal = __utils__["mongodb.normal_privileges"](privileges)
    except ValueError as err:
        raise SaltInvocationError(str(err)) from err
    return {"privileges": normal, "roles": _wanted_roles(roles, database)}


def _role_changes(current, name, wanted):
    if current is None:
        return {
            "role": {"old": None, "new": name},
            **{part: {"old": [], "new": new} for part, new in wanted.items() if new},
        }
    return {
        part: {"old": current[part], "new": new}
        for part, new in wanted.items()
        if current[part] != new
    }


def user_present(
    name, password_pillar, database="admin", roles=(), admin=False, timeout=60, mechanisms=None
):
    """
    Ensure that a user exists with exactly these roles and the password that the pillar holds.

    name
        Name of the user.

    password_pillar
        Path of the password in pillar, e.g. ``secrets:mongodb_app``.

    database
        The database that the user belongs to and logs in at.

    roles
        List of role names (of ``database``) or dicts of ``role`` and ``db``.

    admin
        This is the user that Salt itself logs in as. Where the set has no user yet it is made
        through the localhost exception, on the primary; on other nodes the state waits for
        that. All other users are made by it.

    timeout
        Seconds to wait for a primary and for the admin to be there.

    mechanisms
        List of exactly the mechanisms that it can log in by, e.g. ``[SCRAM-SHA-256]``. None: the
        server's own for a new user, and what is there for another.

    Whether the password is right is found by logging in with it. An admin whose password
    differs from the pillar's is reported, not changed: nobody is left who could.
    """
    ret = {"name": name, "result": True, "comment": "", "changes": {}}
    try:
        wanted = {"roles": _wanted_roles(roles, database)}
        if mechanisms is not None:
            wanted["mechanisms"] = _wanted_mechanisms(mechanisms)
        access, current = _looked("mongodb.user_info", name, database, timeout)
        _check_admin(name, database, admin, access)
        if access["level"] != "granted" and not (access["level"] == "open" and admin):
            result = None if __opts__["test"] and _may_come(access) else False
            comment = f"cannot look at user {name}: {access['reason']}"
            if access["level"] == "open":
                comment += "; the one that Salt logs in as comes first (admin: true)"
            return {**ret, "result": result, "comment": comment}

        changes = _user_changes(current, name, password_pillar, database, wanted)
        what = f"user {name} of {database}"
        if not changes or __opts__["test"]:
            return _found(ret, what, current, changes)

        if current is None:
            __salt__["mongodb.user_create"](
                name, password_pillar, database, list(roles), wanted.get("mechanisms")
            )
            ret["changes"] = changes
        if current and "roles" in changes:
            __salt__["mongodb.user_update_roles"](name, list(roles), database)
            ret["changes"]["roles"] = changes["roles"]
        # What the server checks the password by is made anew for each mechanism.
        if current and "mechanisms" in changes:
            __salt__["mongodb.user_update_mechanisms"](
                name, wanted["mechanisms"], database, password_pillar
            )
            ret["changes"].update(changes)
        elif current and "password" in changes:
            __salt__["mongodb.user_update_password"](name, password_pillar, database)
            ret["changes"]["password"] = changes["password"]

        after = __salt__["mongodb.user_info"](name, database)
        left = _user_changes(after, name, password_pillar, database, wanted)
        return _verified(ret, what, current, left)
    except (CommandExecutionError, SaltInvocationError) as err:
        ret["result"] = False
        ret["comment"] = str(err)
    return ret


def _check_admin(name, database, admin, access):
    if admin and (name, database) != (access["user"], "admin"):
        raise SaltInvocationError(
            f"admin: true is for the user that the mongodb settings log in as"
            f" ({access['user']} of admin), not for {name} of {database}"
        )


def _may_come(access):
    """Return whether what is refused now may be granted later by what other states do."""
    return access["level"] in ("unavailable", "open") or not __salt__["mongodb.is_primary"]()


def _wanted_roles(roles, database):
    try:
        return __utils__["mongodb.role_names"](__utils__["mongodb.normal_roles"](roles), database)
    except ValueError as err:
        raise SaltInvocationError(str(err)) from err


def _wanted_mechanisms(mechanisms):
    if isinstance(mechanisms, str) or not mechanisms:
        raise SaltInvocationError(f"mechanisms must be a list of names, not {mechanisms!r}")
    return sorted(set(mechanisms))


def _user_changes(current, name, password_pillar, database, wanted):
    if current is None:
        return {
            "user": {"old": None, "new": name},
            **{part: {"old": [], "new": new} for part, new in wanted.items()},
        }
    changes = {
        part: {"old": current[part], "new": new}
        for part, new in wanted.items()
        if current[part] != new
    }
    if not __salt__["mongodb.user_login"](name, password_pillar, database):
        changes["password"] = {"old": "another", "new": f"the one at pillar {password_pillar}"}
    return changes
