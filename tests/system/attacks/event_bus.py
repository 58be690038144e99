"""Run as root on a node: has the master publish a job in its own name, with this node's key alone.

    /opt/salt/bin/python event_bus.py VICTIM FILE [WAY...]

tries each WAY (all, when none is named) to have the minion VICTIM make FILE.WAY, which it does as
root. On Salt as it is published each of them does; on ours none, and the master's log names this
node. It says "sent WAY" of each; whether it worked is to be seen on VICTIM.
"""

import argparse

import salt.channel.client
import salt.config
import salt.minion
import salt.utils.batch_state
import salt.utils.jid


def _job(opts, victim, file):
    """Return a job as the master publishes it, with the mark of a cluster's peer."""
    return {
        "__peer_id": "peer",
        "jid": salt.utils.jid.gen_jid(opts),
        "fun": "file.touch",
        "arg": [file],
        "tgt": [victim],
        "tgt_type": "list",
        "ret": "",
        "user": "root",
    }


def tag(opts, victim, file):
    """One event: what is beside its tag gets to the bus as well."""
    job = _job(opts, victim, file)
    event = {"tag": f"salt/job/{job['jid']}/publish", "data": {}}
    return {"cmd": "_minion_event", **job, **event}


def events(opts, victim, file):
    """A list of events: the tag is one that Salt's own filter does not know."""
    event = {"tag": "salt/job/publish", "data": _job(opts, victim, file)}
    return {"cmd": "_minion_event", "events": [event]}


def pretag(opts, victim, file):
    """A list of events as syndics send them: what comes before the tag makes it the master's."""
    job = _job(opts, victim, file)
    event = {"tag": "publish", "data": job}
    return {"cmd": "_minion_event", "events": [event], "pretag": f"salt/job/{job['jid']}"}


def batch(opts, victim, file):
    """A batch that the master is to go on with."""
    jid = salt.utils.jid.gen_jid(opts)
    job = {"fun": "file.touch", "arg": [file], "tgt": [victim], "tgt_type": "list", "batch": "1"}
    begun = salt.utils.batch_state.create_batch_state(job, [victim], jid, driver="master")
    return {"cmd": "_minion_event", "tag": f"salt/batch/{jid}/new", "data": {}, "state": begun}


def state(opts, victim, file):
    """A return of states: the name of a failed one becomes a tag."""
    failed = {"result": False, **_job(opts, victim, file)}
    return {
        "cmd": "_return",
        "jid": salt.utils.jid.gen_jid(opts),
        "fun": "state.sls",
        "fun_args": [],
        "retcode": 1,
        "success": False,
        "return": {"salt/job/x_|-y/publish": failed},
    }


WAYS = {each.__name__: each for each in (tag, events, pretag, batch, state)}


def options(folder):
    """Return the options of the minion whose configuration is in a folder."""
    opts = salt.config.minion_config(f"{folder}/minion")
    return {**opts, **salt.minion.resolve_dns(opts)}


def say(opts, load):
    """Say something to the master as this minion, and return its answer."""
    with salt.channel.client.ReqChannel.factory(opts) as channel:
        return channel.send({"id": opts["id"], **load}, timeout=10, tries=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("victim", help="the minion that shall run the job")
    parser.add_argument("file", help="what it shall make; .WAY is appended")
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"of {', '.join(WAYS)}")
    parser.add_argument(
        "--config",
        default="/etc/salt",
        help="the folder of the minion's configuration (default: %(default)s)",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.ways) - set(WAYS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))} is no way: choose of {', '.join(WAYS)}.")
    opts = options(arguments.config)
    for name in arguments.ways or WAYS:
        say(opts, WAYS[name](opts, arguments.victim, f"{arguments.file}.{name}"))
        print(f"sent {name}", flush=True)


if __name__ == "__main__":
    main()
