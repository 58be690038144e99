"""What befalls two balancers under load, in networks of this process's own.

Run in a network and a mount namespace of its own, as ``moving.py WAY TIMES``: the address is handed
over as ``fleet/handover.py`` has it done (``handed over``), or just moved (``moved``); its holder's
HAProxy is reloaded as systemd does it (``reloaded``), or started anew (``restarted``); web servers
in turn are drained and put back (``drained``), or cut off from their clients (``cut off``). Prints
JSON: ``answered``, ``failed`` and ``longest`` (seconds).
"""

import contextlib
import http.client
import http.server
import json
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from fleet import handover
from tests.functional.haproxy.role import configure
from tests.support.certificates import Authority
from tests.support.loading import ROOT, load, minion_loader
from tests.support.waiting import PATIENCE, until

VIP = "10.9.0.100"
WEBS = {"web-1": "10.9.0.3", "web-2": "10.9.0.4"}
ADDRESSES = {"a": "10.9.0.11", "b": "10.9.0.12", "clients": "10.9.0.20"}
CLIENTS = 12
#: Clients of HTTP/2, each with one connection, and how many requests each has at a time.
MULTIPLEXING, STREAMS = 3, 3
#: How many requests each sends before it begins anew.
BATCH = 60
# How many answers come before the first move, and from one to the next.
BETWEEN = 100
FOLDER = Path("/run/moving")
BALANCERS = {}
# One in each balancer's network, there before it is needed, as keepalived is.
ANNOUNCERS = {}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers soon, and sometimes late."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self):
        if self.path != "/readyz":
            time.sleep(random.choice([0.002, 0.005, 0.01, 0.05, 0.3]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *args):
        """Keep the output readable."""


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """Say nothing of HAProxy's checks, which hang up as soon as they have the status."""


def run(*command):
    subprocess.run(command, check=True)


def inside(name, role):
    """Start another part of this program in the network of a node."""
    command = ["ip", "netns", "exec", name, sys.executable, "-m", __spec__.name, role]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def networks():
    run("mount", "-t", "tmpfs", "none", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    for address in WEBS.values():
        run("ip", "address", "add", f"{address}/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    for name, address in ADDRESSES.items():
        run("ip", "netns", "add", name)
        run(
            "ip",
            "link",
            "add",
            f"to-{name}",
            *("type", "veth", "peer", "name", "eth0"),
            "netns",
            name,
        )
        run("ip", "link", "set", f"to-{name}", "master", "bridge", "up")
        run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")


def balancer(name):
    """Start HAProxy as the role configures it, but for its user and its log."""
    lb = {
        "frontend_port": 80,
        "metrics_port": 8405,
        "backend": "web",
        "maxconn": 4000,
        "socket": FOLDER / f"{name}.sock",
    }
    path = configure(
        FOLDER,
        name,
        lb=lb,
        https={"enabled": True},
        vip=VIP,
        address=ADDRESSES[name],
        servers=WEBS,
        port=8000,
    )
    with (FOLDER / f"{name}.log").open("wb") as log:
        master = ["-W", "-S", FOLDER / f"{name}.master"]
        command = ["ip", "netns", "exec", name, "/usr/sbin/haproxy", "-db", *master, "-f", path]
        return subprocess.Popen(command, stdout=log, stderr=log)


def announce():
    """Tell everybody who has the address now, as keepalived does, whenever a line comes."""
    own = socket.inet_aton(VIP)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        mac = raw.getsockname()[4]
        head = b"\xff" * 6 + mac + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 1)
        for _ in sys.stdin:
            for _ in range(3):
                raw.send(head + mac + own + b"\xff" * 6 + own)
            print("announced", flush=True)


def take(name):
    run("ip", "-n", name, "address", "add", f"{VIP}/24", "dev", "eth0")
    assert say(ANNOUNCERS[name]) == "announced"


def drop(name):
    run("ip", "-n", name, "address", "del", f"{VIP}/24", "dev", "eth0")


def clients():
    """Ask all the while, on connections that are kept and on new ones, until the input ends.

    Each line of the input is answered with the number of answers so far.
    """
    done = threading.Event()
    answered, failed, times = [], [], []
    trusts = ssl.create_default_context(cafile=FOLDER / "authority.crt")

    def multiplexing():
        # curl does as browsers do: what is under way on a connection that it is told to leave ends
        # there, and the next request is on another one.
        said = "%{http_code} %{http_version} %{exitcode} %{time_total}\\n"
        command = ["curl", "--silent", "--http2", "--cacert", FOLDER / "authority.crt"]
        command += ["--parallel", "--parallel-max", str(STREAMS), "--max-time", str(20 * PATIENCE)]
        command += ["--data", "", "--output", "/dev/null", "--write-out", said]
        while not done.is_set():
            ran = subprocess.run(
                [*command, f"https://{VIP}/?[1-{BATCH}]"],
                capture_output=True,
                text=True,
                check=False,
            )
            for line in ran.stdout.splitlines():
                status, version, code, seconds = line.split()
                good = (status, version, code) == ("200", "2", "0")
                (answered if good else failed).append(line)
                times.append(float(seconds))

    def client(keeps):
        connection = None
        while not done.is_set():
            began = time.monotonic()
            try:
                connection = connection or http.client.HTTPSConnection(
                    VIP, timeout=20 * PATIENCE, context=trusts
                )
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                (answered if answer.status == 200 else failed).append(str(answer.status))
                if not keeps or answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                failed.append(type(error).__name__)
                connection = None
            times.append(time.monotonic() - began)
            if keeps:
                done.wait(random.choice([0, 0, 0.01, 0.1, 1.0]))

    threads = [threading.Thread(target=client, args=(n % 2 == 0,)) for n in range(CLIENTS)]
    threads += [threading.Thread(target=multiplexing) for _ in range(MULTIPLEXING)]
    for thread in threads:
        thread.start()
    for _ in sys.stdin:
        print(len(answered), flush=True)
    done.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": len(answered), "failed": failed, "longest": max(times)}))


def say(process):
    """Give a part of this program a line; return the one that it answers."""
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def wait_more(asking):
    """Wait until clients have some answers more than now."""
    before = int(say(asking))
    until(
        lambda: int(say(asking)) - before,
        60,
        f"{BETWEEN} requests more are answered",
        wanted=lambda more: more >= BETWEEN,
    )


def modules(name):
    """Return the execution modules as a minion in the network of a node would have them."""
    names = ("_utils/haproxy", "_modules/haproxy", "_modules/haproxy_worker", "_modules/newcomers")
    utils, haproxy, worker, newcomers = (load(f"{path}.py") for path in names)
    master = str(FOLDER / f"{name}.master")
    worker.__utils__ = {"haproxy.call": utils.call}
    worker.__salt__ = {
        "config.get": lambda _key: master,
        # As systemd has it done.
        "service.reload": lambda _name: utils.command(master, "reload") == "",
    }
    haproxy.__utils__ = {
        "haproxy.call": utils.call,
        "haproxy_declared.seconds": load("_utils/haproxy_declared.py").seconds,
    }
    haproxy.__opts__, haproxy.__pillar__ = {"haproxy.socket": str(FOLDER / f"{name}.sock")}, {}

    def run_all(command, stdin, **_kwargs):
        command = ["ip", "netns", "exec", name, *command]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        return {"retcode": done.returncode, "stderr": done.stderr}

    newcomers.__salt__ = {"cmd.run_all": run_all}
    return haproxy, worker, newcomers


def hand_over(old, new):
    """Do what ``fleet/handover.py`` has a balancer do."""
    haproxy, worker, newcomers = modules(old)
    haproxy.closing(int(60 * PATIENCE))
    look = lambda: haproxy.connections(handover.FRONTEND)["idle"]  # noqa: E731
    until(look, 30, "no connection is kept", wanted=0)
    assert haproxy.connections(handover.FRONTEND)["multiplexed"]
    newcomers.hold(VIP, [80, 443], int(10 * PATIENCE))
    worker.retire(handover.FRONTEND, 5 * PATIENCE, 0.5 * PATIENCE, 2 * PATIENCE)
    drop(old)
    take(new)
    newcomers.admit()
    haproxy.closing(0)


def move(old, new):
    drop(old)
    take(new)


def reload(name):
    """Do what systemd's ``ExecReload`` has a balancer do."""
    utils = load("_utils/haproxy.py")
    master = str(FOLDER / f"{name}.master")
    save = ROOT / "salt/lb/files/save-haproxy-state"
    run(save, FOLDER / f"{name}.sock", FOLDER / f"{name}.cfg", FOLDER / f"{name}.state")

    def current():
        return [worker for worker, serves in utils.workers(master).items() if serves]

    before = current()
    assert utils.command(master, "reload") == ""
    until(
        current,
        20,
        f"another worker than {before} serves",
        wanted=lambda now: now and now != before,
        # It tells nobody while it begins anew.
        ignoring=(OSError, ValueError),
    )


def restart(name):
    """Kill HAProxy, and start it anew."""
    BALANCERS[name].kill()
    BALANCERS[name].wait(10)
    BALANCERS[name] = balancer(name)


def web_server(name, out):
    """Take a web server out of rotation and put it back, as a rollout does."""
    salt = minion_loader(FOLDER / "salt", **{"haproxy.socket": str(FOLDER / "a.sock")}).modules
    out(salt, name)
    salt["haproxy.ready"]("web", name)
    salt["haproxy.wait_up"]("web", name)


def drain(salt, name):
    salt["haproxy.drain"]("web", name, timeout=int(60 * PATIENCE))


def cut_off(salt, name):
    salt["haproxy.set_state"]("web", name, "maint")
    salt["haproxy.shutdown_sessions"]("web", name)


WAYS = {
    "handed over": lambda old, new, _web: hand_over(old, new),
    "moved": lambda old, new, _web: move(old, new),
    "reloaded": lambda _old, _new, _web: reload("a"),
    "restarted": lambda _old, _new, _web: restart("a"),
    "drained": lambda _old, _new, web: web_server(web, drain),
    "cut off": lambda _old, _new, web: web_server(web, cut_off),
}


def main(way, moves):
    networks()
    FOLDER.mkdir()
    authority = Authority()
    (FOLDER / "authority.crt").write_text(authority.certificate)
    (FOLDER / "certificate.pem").write_text(authority.certify(address=VIP))
    for address in WEBS.values():
        web = Web((address, 8000), Handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
    BALANCERS.update((name, balancer(name)) for name in ("a", "b"))
    ANNOUNCERS.update((name, inside(name, "announce")) for name in ("a", "b"))
    take("a")
    for name in ("a", "b"):
        ready = (FOLDER / f"{name}.sock").exists
        until(ready, 20, f"HAProxy of {name} runs", wanted=True)
    asking = inside("clients", "clients")
    for number in range(moves):
        wait_more(asking)
        WAYS[way]("ab"[number % 2], "ba"[number % 2], list(WEBS)[number % 2])
    wait_more(asking)
    told, _ = asking.communicate(timeout=60 * PATIENCE)
    print(told.strip())
    for process in (*BALANCERS.values(), *ANNOUNCERS.values()):
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            process.wait(10)


if __name__ == "__main__":
    role, *moves = sys.argv[1:]
    if moves:
        main(role, int(moves[0]))
    else:
        {"announce": announce, "clients": clients}[role]()
