"""What the answers of nodes mean: of each node by its roles, and of what they are together."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet import certificate, looking
from fleet.looking import Look
from fleet.minions import Minions, last_words
from fleet.utils import mongodb_health
from fleet.waiting import PAUSE
from fleet.words import duration

#: Seconds after which a VIP that moves has a holder again.
VIP_MOVES = 2
#: Percent of a file system from which on it is a problem.
_FULL = 95
#: Seconds behind the primary that are worth a word.
_BEHIND = 1.0


class Nodes:
    """
    What each node is at.

    nodes, settings
        Of the revision that the fleet is on, or of the checkout before the first rollout.
    """

    def __init__(self, nodes: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._settings = settings
        self._balancers = [node for node, entry in nodes.items() if "lb" in entry["roles"]]
        self._given: set[str] = set()

    def settled(self, found: Look) -> list[str]:
        """Return the nodes about which all is known now, and was not the last time."""
        known = {*found.answers, *found.failed}
        new = [
            node
            for node in self._nodes
            if node in known - self._given
            and ("web" not in self._nodes[node]["roles"] or known.issuperset(self._balancers))
        ]
        self._given.update(new)
        return new

    def overview(self, found: Look, node: str) -> dict[str, Any]:
        """Return what :func:`fleet.status.status` tells of a node."""
        health = found.get(node, "counterapp.health")
        ends = certificate.end(found.get(node, "file.read"))
        return {
            "roles": self._nodes[node]["roles"],
            "address": self._nodes[node]["address"],
            "os": (found.get(node, "grains.item") or {}).get("osfinger"),
            "up": node in found.answers,
            "release": health["release"] if health else None,
            "state": ", ".join(self._words(found, node)) or None,
            "since": self._since(found, node),
            "disk": self.disks(found, node),
            "certificate": ends.isoformat(timespec="seconds") if ends else None,
        }

    def problems(self, found: Look) -> list[str]:
        """Return a sentence for each thing that is wrong with one node, with the remedy."""
        return [
            f"{node}: {problem}"
            for node in found.answers
            for problem in self._problems(found, node)
        ]

    def _words(self, found: Look, node: str) -> list[str]:
        if node not in found.answers:
            return []
        roles, words = self._nodes[node]["roles"], []
        if "web" in roles:
            words += [self._web(found, node)]
        if "db" in roles:
            status = found.get(node, "mongodb.status")
            words += [(status["state"] or "no replica set") if status else "db does not answer"]
        if "storage" in roles:
            active = _units(found, node).get("glusterd", {}).get("ActiveState", "unknown")
            words += ["glusterd up" if active == "active" else f"glusterd {active}"]
        if "lb" in roles:
            servers = found.get(node, "haproxy.servers")
            words += [
                "lb does not answer"
                if servers is None
                else f"{sum(each['in_service'] for each in servers)}/{len(servers)} servers up"
            ]
        return words

    def _web(self, found: Look, node: str) -> str:
        health = found.get(node, "counterapp.health")
        if not health:
            return "web does not answer"
        word = "ready" if health["ready"] else f"not ready: {health['reason']}"
        out = [
            f"{entry['admin'] if entry['admin'] != 'ready' else 'down'} in {balancer}"
            for balancer, entry in self._views(found, node)
            if not entry["in_service"]
        ]
        return ", ".join([word, *out])

    def _views(self, found: Look, node: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each balancer that tells of a web server, and what it tells."""
        for balancer in self._balancers:
            for entry in found.get(balancer, "haproxy.servers") or []:
                if entry["name"] == node:
                    yield balancer, entry

    def _since(self, found: Look, node: str) -> str | None:
        """Return when the last of its services, or of the balancers' views of it, has changed."""
        times = []
        for unit in _units(found, node).values():
            name = "ActiveEnter" if unit.get("ActiveState") == "active" else "InactiveEnter"
            if when := _systemd_time(unit.get(f"{name}Timestamp", "")):
                times.append(when)
        now = datetime.now(UTC)
        if "web" in self._nodes[node]["roles"]:
            views = self._views(found, node)
            times += [now - timedelta(seconds=entry["since"]) for _lb, entry in views]
        return max(times).isoformat(timespec="seconds") if times else None

    def disks(self, found: Look, node: str) -> dict[str, Any]:
        """Return the file systems that the node's roles write to, by mount point."""
        usage: Mapping[str, Any] = found.get(node, "disk.usage") or {}
        paths = ["/", "/var/log", "/var/lib/counterapp"]
        by_role = {
            "db": ("mongodb", "dbpath"),
            "storage": ("gluster", "brick"),
            "web": ("web", "root"),
        }
        for role in self._nodes[node]["roles"]:
            if role in by_role:
                section, key = by_role[role]
                paths.append(self._settings.get(section, {}).get(key, "/"))
        mounts = {_mount(path, usage) for path in paths} & usage.keys()
        return {
            mount: {
                "free": int(usage[mount]["available"]) * 1024,
                "used": int(usage[mount]["capacity"].rstrip("%")),
            }
            for mount in sorted(mounts)
        }

    def _problems(self, found: Look, node: str) -> Iterator[str]:
        roles, errors = self._nodes[node]["roles"], found.errors[node]
        health, units = found.get(node, "counterapp.health"), _units(found, node)
        if "web" in roles and health and not health["ready"]:
            yield (
                f"its app is not ready: {health['reason']}; look at `journalctl -u counterapp` "
                "on the node"
            )
        status = found.get(node, "mongodb.status")
        if "db" in roles and status and not status["reachable"]:
            yield (
                f"its mongod does not answer: {status['reason']}; look at `systemctl status "
                "mongod` on the node"
            )
        active = units.get("glusterd", {}).get("ActiveState")
        if "storage" in roles and active not in (None, "active"):
            yield f"its glusterd is {active}: run `systemctl restart glusterd` on the node"
        for role, function in (
            ("web", "counterapp.health"),
            ("db", "mongodb.status"),
            ("lb", "haproxy.servers"),
        ):
            if role in roles and function in errors:
                services = " ".join(looking.UNITS[role])
                yield (
                    f"{function} fails there: {errors[function]}; look at `systemctl status "
                    f"{services}` on the node"
                )
        for mount, disk in self.disks(found, node).items():
            if disk["used"] >= _FULL:
                yield (
                    f"its file system {mount} is {disk['used']} % full, "
                    f"{disk['free'] / 2**20:.0f} MiB are free: make room there"
                )
        yield from self._certificate_problems(found, node)

    def _certificate_problems(self, found: Look, node: str) -> Iterator[str]:
        if not self._settings["gluster"]["tls"]:
            return
        anew = (
            "run `/srv/counterapp/bootstrap/make-secrets /etc/salt/counterapp/pillar/secrets` on "
            "the master"
        )
        ends = certificate.end(found.get(node, "file.read"))
        if ends is None:
            why = found.errors[node].get("file.read", "it is no certificate")
            words = f"cannot be read: {why}; {anew}, and roll out"
            yield f"its certificate {looking.CERTIFICATE} {words}"
        elif (left := ends - datetime.now(UTC)) < certificate.SOON:
            when = ends.isoformat(sep=" ", timespec="minutes")
            if left < timedelta():
                # Who connects anew is refused, and so a rotation is.
                words = f"ended on {when}: {anew}, then `salt-run storage.switch_tls restart=True`"
            else:
                words = f"ends on {when}: run `salt-run secret.rotate gluster_tls` on the master"
            yield f"its certificate {looking.CERTIFICATE} {words}"


def _units(found: Look, node: str) -> dict[str, dict[str, str]]:
    """Return the properties of a node's services, by their names."""
    answer = found.get(node, "cmd.run_all") or {}
    units = {}
    for block in str(answer.get("stdout", "")).split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if name := properties.get("Id", ""):
            units[name.removesuffix(".service")] = properties
    return units


def _systemd_time(text: str) -> datetime | None:
    """Return the time of a property as ``Fri 2026-11-27 22:58:47 UTC``, None where it never was."""
    parts = text.split()
    if len(parts) != 4:
        return None
    return datetime.fromisoformat(f"{parts[1]}T{parts[2]}+00:00")


def _mount(path: str, usage: Mapping[str, Any]) -> str:
    """Return the mount point under which a path lies."""
    parts = path.rstrip("/").split("/")
    above = ["/".join(parts[:length]) or "/" for length in range(len(parts), 0, -1)]
    return next((each for each in above if each in usage), "/")


class Together:
    """
    What nodes are together: who holds the VIP, the replica set, the volume.

    minions
        How nodes are asked once more, where one look has left something open.
    found
        What all nodes have answered.
    """

    def __init__(
        self,
        minions: Minions,
        nodes: Mapping[str, Any],
        settings: Mapping[str, Any],
        vip: str,
        found: Look,
    ) -> None:
        self._minions = minions
        self._nodes = nodes
        self._settings = settings
        self._found = found
        self._problems: list[str] = []
        self._words: list[tuple[str, str]] = []
        self.vip = self._look_at_vip(vip)
        self.replica_set = self._look_at_set()
        self.volume = self._look_at_volume(settings["gluster"]["volume"])

    def words(self) -> list[tuple[str, str]]:
        """Return what is to be told of nodes beyond their own answers: node and words."""
        return self._words

    def problems(self) -> list[str]:
        """Return a sentence for each thing that is wrong, with the remedy."""
        return self._problems

    def _having(self, role: str, only_up: bool = True) -> list[str]:
        return [
            node
            for node, entry in self._nodes.items()
            if role in entry["roles"] and (node in self._found.answers or not only_up)
        ]

    def _look_at_vip(self, vip: str) -> dict[str, Any]:
        balancers, asked = self._having("lb", only_up=False), self._having("lb")
        addresses = {node: self._found.get(node, "network.ip_addrs") for node in asked}
        deadline = time.monotonic() + VIP_MOVES
        while True:
            told = {node for node, found in addresses.items() if isinstance(found, list)}
            holders = [node for node in asked if node in told and vip in addresses[node]]
            # One that does not answer may hold it.
            unknown = not holders and len(told) < len(balancers)
            if len(holders) == 1 or unknown or time.monotonic() > deadline:
                break
            time.sleep(PAUSE)
            addresses = self._minions.everyone(asked, "network.ip_addrs", [], None, 8, 4).answers
        self._words += [
            (node, "has the VIP" if node in holders else "standby")
            for node in asked
            if node in told
        ]
        if len(holders) > 1:
            self._problems.append(
                f"{' and '.join(holders)} hold the VIP {vip} at the same time: run `systemctl "
                "restart keepalived` on all but one, and see that VRRP (IP protocol 112) passes "
                "between them"
            )
        elif not holders and not unknown:
            self._problems.append(
                f"no balancer holds the VIP {vip}: look at `systemctl status haproxy keepalived` "
                f"on {', '.join(balancers)}"
            )
        return {"address": vip, "holders": holders}

    def _look_at_set(self) -> dict[str, Any] | None:
        """Take what the primary tells of the set, or whoever tells anything."""
        seen = {node: self._found.get(node, "mongodb.status") for node in self._having("db")}
        told = {node: status for node, status in seen.items() if status and status["members"]}
        if not told:
            if any(status and status["reachable"] for status in seen.values()):
                self._problems.append(
                    "there is no replica set yet: `salt-run state.orchestrate orch.rollout` "
                    "makes it"
                )
            return None
        # Others may not have heard of it yet, or be cut off.
        witness = max(told, key=lambda node: told[node]["state"] == "PRIMARY")
        members, primary = told[witness]["members"], told[witness]["primary"]
        # Members have the addresses of their nodes, or their names, before a port.
        hosts = {entry["address"]: node for node, entry in self._nodes.items()}
        hosts.update({node: node for node in self._nodes})
        by_name = {m["name"]: hosts.get(m["name"].rpartition(":")[0]) for m in members}
        for member in members:
            node, late = by_name[member["name"]], mongodb_health.behind(member)
            if node and late is not None and late >= _BEHIND:
                self._words.append((node, f"{duration(late)} behind"))
            if node and mongodb_health.cannot_catch_up(member):
                self._words.append((node, "cannot catch up"))
        sees = f"the replica set, as {witness} sees it"
        for why in mongodb_health.unhealthy(members, primary, None, need_all=True):
            name, _, rest = why.partition(" ")
            self._problems.append(f"{sees}: {self._remedied(by_name.get(name), name, rest)}")
        self._problems += self._outside(seen, by_name, witness)
        return {
            "primary": by_name.get(primary, primary) if primary else None,
            "members": [
                {"node": by_name[m["name"]], **{key: m[key] for key in ("name", "state", "lag_s")}}
                for m in members
            ],
        }

    def _remedied(self, node: str | None, name: str, rest: str) -> str:
        """Return what is wrong with the set or with one of its members, and what helps."""
        if rest.endswith(mongodb_health.RESYNC):
            command = f"mongodb.resync confirm={name}{self._settings['mongodb']['dbpath']}"
            rest = rest.removesuffix(mongodb_health.RESYNC) + f"`salt {node} {command}`"
            return f"{node or name} {rest}"
        if "by itself" in rest:
            return f"{node or name} {rest}"
        return (
            f"{node or name} {rest}; look at `systemctl status mongod` on that node: when it runs, "
            "it catches up by itself or says that it cannot"
        )

    def _outside(
        self, seen: Mapping[str, Any], by_name: Mapping[str, str | None], witness: str
    ) -> Iterator[str]:
        """Yield what to do about nodes whose mongod runs and is no member under its address."""
        nowhere = [name for name, node in by_name.items() if node is None]
        port = self._settings["mongodb"]["port"]
        for node, status in seen.items():
            if not status or not status["reachable"] or node in by_name.values():
                continue
            own = f"{self._nodes[node]['address']}:{port}"
            remedy = f"`salt {node} state.apply db` takes it in"
            if nowhere:
                remedy = (
                    f"if it is the one that the set knows as {nowhere[0]}, where no node is, "
                    f"`salt {witness} mongodb.move_member {nowhere[0]} {own}`; else {remedy}"
                )
            yield f"{node}: its mongod runs, and the replica set has no member {own}: {remedy}"

    def _look_at_volume(self, volume: str) -> dict[str, Any] | None:
        keepers = self._having("storage")
        found = {node: self._found.get(node, "gluster.healthy") for node in keepers}
        for node in keepers:
            answer, fails = found[node], self._found.errors[node].get("gluster.healthy")
            if answer is None and fails is None:
                # Whoever was asked first is silent.
                told = self._minions.everyone([node], "gluster.healthy", [volume], None, 8, 4)
                answer, fails = told.answers.get(node), told.failed.get(node)
            if isinstance(answer, dict):
                if answer["healthy"]:
                    self._words.append((node, "volume healthy"))
                else:
                    self._words.append((node, f"volume: {'; '.join(answer['reasons'])}"))
                self._problems += [
                    f"the volume {volume}, as {node} sees it: {why}; see that glusterd runs on "
                    f"{', '.join(self._having('storage', only_up=False))}, then it heals by itself "
                    f"within a minute (`salt {node} gluster.healthy {volume}`)"
                    for why in answer["reasons"]
                ]
                return {"name": volume, **answer}
        if keepers:
            self._problems.append(
                f"no storage node tells how the volume {volume} is: "
                f"{last_words(fails or 'no answer')}; look at `systemctl status glusterd` there"
            )
        return None
