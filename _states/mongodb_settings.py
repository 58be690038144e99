"""
Declare the settings that MongoDB replica sets have as a whole.

Connection settings are those of the execution module ``mongodb``: see there.

.. code-block:: yaml

    rs0 elects soon:
      mongodb.replica_set_settings:
        - settings:
            electionTimeoutMillis: 3000
        - require:
          - mongodb: admin
"""

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "mongodb"


def __virtual__():
    if "mongodb.configure" not in __salt__:
        return False, "the execution module mongodb is not available (is PyMongo installed?)"
    return __virtualname__


def replica_set_settings(name, settings, timeout=60):
    """
    Ensure that the replica set which this node belongs to has these settings.

    name
        Any name, such as that of the set.

    settings
        Mapping of settings in MongoDB's own names, as ``mongodb.settings`` returns them. Others
        are left as they are.

    timeout
        Seconds to wait for a primary and for the user that Salt logs in as, and again for a
        majority to have the change.

    The change is one of the whole set, on whichever of its nodes the state runs first; on the
    others there is nothing left to do. The members go on serving, and the primary stays the same.
    """
    ret = {"name": name, "result": True, "comment": "", "changes": {}}
    try:
        wanted = _checked(settings)
        access = __salt__["mongodb.wait_access"](timeout=0 if __opts__["test"] else timeout)
        if access["level"] != "granted":
            # Where a test finds no user to log in as, the states before this one are to make it.
            result = None if __opts__["test"] else False
            return {
                **ret,
                "result": result,
                "comment": f"cannot look at the settings of {name}: {access['reason']}",
            }
        changes = _differing(wanted)
        if not changes:
            return {**ret, "comment": f"{name} has the settings"}
        words = ", ".join(changes)
        if __opts__["test"]:
            comment = f"{words} of {name} would be changed"
            return {**ret, "result": None, "changes": changes, "comment": comment}
        __salt__["mongodb.configure"](wanted, timeout=timeout)
        ret["changes"] = changes
        if left := _differing(wanted):
            comment = f"{name} still has another {', '.join(left)}"
            return {**ret, "result": False, "comment": comment}
        ret["comment"] = f"{words} of {name} was changed"
    except (CommandExecutionError, SaltInvocationError) as err:
        ret["result"] = False
        ret["comment"] = str(err)
    return ret


def _checked(settings):
    try:
        return __utils__["mongodb_settings.check"](settings)
    except ValueError as err:
        raise SaltInvocationError(str(err)) from err


def _differing(wanted):
    # Asked of the primary: another member may not have heard of a change yet.
    now = __salt__["mongodb.settings"](__salt__["mongodb.primary"]())
    return {
        key: {"old": now[key], "new": value} for key, value in wanted.items() if now[key] != value
    }
