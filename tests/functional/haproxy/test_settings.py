"""Each setting of the pillar reaches a balancer that runs, by a reload that keeps its drains."""

import socket
import subprocess
import urllib.request

import pytest
import yaml

from tests.functional.haproxy.conftest import free_port
from tests.functional.haproxy.role import OWN, SERVERS, Balancer, Web
from tests.support.loading import ROOT, load
from tests.support.waiting import until

haproxy = load("_utils/haproxy.py")
MAKE = "/api/v1/counters"

CHANGES = {}


def changes(key):
    """Enter what changes a setting and looks at what has become of it."""

    def enter(function):
        CHANGES[key] = function
        return function

    return enter


@pytest.fixture
def made(tmp_path):
    """A balancer that has drained a server."""
    balancer = Balancer(tmp_path, https={})
    try:
        balancer.until_up(*SERVERS)
        haproxy.tell_server(balancer.socket, "set server", "web", "web-2", "state", "drain")
        yield balancer
    finally:
        balancer.stop()


def told(balancer, backend="web"):
    return {each["name"]: each["admin"] for each in haproxy.servers(balancer.socket, backend)}


@changes("lb:frontend_port")
def _(made):
    before = made.port
    made.reload(lb={"frontend_port": free_port()})
    assert made.ask("GET", "/") == 308
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", before), timeout=10)


@changes("lb:https:port")
def _(made):
    before = made.secure_port
    made.reload(https={"port": free_port()})
    assert made.answer("GET", "/").head["Location"].endswith(f":{made.secure_port}/")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", before), timeout=10)


@changes("lb:https:enabled")
def _(made):
    made.reload(https={"enabled": False})
    assert made.ask("GET", "/") == 200
    made.reload(https={"enabled": True})
    assert made.ask("GET", "/") == 308


@changes("lb:https:hsts")
def _(made):
    made.reload(https={"hsts": 300})
    head = made.answer("GET", "/", secure=True).head
    assert head["Strict-Transport-Security"] == "max-age=300"


@changes("lb:https:plain")
def _(made):
    made.reload(https={"plain": ["/hit/"]})
    assert [made.ask("GET", path) for path in ("/hit/a/b", "/get/a/b")] == [200, 308]


@changes("lb:metrics_port")
def _(made):
    made.reload(lb={"metrics_port": free_port()})
    url = f"http://{OWN}:{made.metrics_port}/metrics"
    assert urllib.request.urlopen(url, timeout=10).status == 200
    # By which servers are checked, too.
    assert made.alive()
    until(lambda: made.servers()["web-1"], 10, "web-1 is up", wanted=True)
    assert made.answer("GET", "/", secure=True).status == 200


@changes("lb:socket")
def _(made):
    made.reload(lb={"socket": str(made.folder / "other.sock")})
    assert haproxy.info(str(made.folder / "other.sock"))["Version"]


@changes("lb:backend")
def _(made):
    made.reload(lb={"backend": "pages"})
    made.until_up(*SERVERS, backend="pages")
    assert made.answer("GET", "/", secure=True).status == 200
    # One of another name has nothing from before.
    assert told(made, "pages") == dict.fromkeys(SERVERS, "ready")
    haproxy.tell_server(made.socket, "set server", "pages", "web-2", "state", "drain")
    made.reload(lb={"backend": "web"})


@changes("lb:maxconn")
def _(made):
    made.reload(lb={"maxconn": 77})
    [row] = [
        row
        for row in haproxy.stat(made.socket)
        if (row["pxname"], row["svname"]) == ("http", "FRONTEND")
    ]
    assert row["slim"] == 77


@changes("lb:limits:requests")
def _(made):
    made.reload(limits={"requests": 3})
    assert 429 in [made.ask("GET", "/") for _ in range(5)]


@changes("lb:limits:creations")
def _(made):
    made.reload(limits={"creations": 1}, https={"plain": ["/api/"]})
    assert [made.ask("POST", MAKE, body=b"") for _ in range(2)] == [200, 429]


@changes("lb:limits:connections")
def _(made):
    made.reload(limits={"connections": 1})
    with socket.create_connection(("127.0.0.1", made.port), timeout=10):
        until(lambda: made.ask("GET", "/"), 10, "one connection is too many", wanted=429)


@changes("lb:limits:streams")
def _(made):
    made.reload(limits={"streams": 1}, https={"plain": ["/stream/"]})
    with made.stream():
        assert made.open("/stream/default/pages") == 429


@changes("lb:limits:exempt")
def _(made):
    made.reload(limits={"requests": 1})
    assert 429 in [made.ask("GET", "/") for _ in range(3)]
    made.reload(exempt=["127.0.0.0/8"])
    assert [made.ask("GET", "/") for _ in range(3)] == [308] * 3


@changes("web:port")
def _(made):
    port = free_port()
    others = [Web(name, port) for name in SERVERS]
    try:
        made.reload(port=port)
        until(lambda: made.servers()["web-1"], 10, "web-1 is up", wanted=True)
        assert made.answer("GET", "/new", secure=True).status == 200
        assert [web.seen.count("/new") for web in others] == [1, 0]
    finally:
        for web in others:
            web.shutdown()
            web.server_close()


#: What goes elsewhere, and what tells that it arrives there.
ELSEWHERE = {
    "lb:https:names": "in the certificate: tests/unit/bootstrap/test_make_secrets.py",
    "lb:https:certificate": "in the certificate: tests/unit/bootstrap/test_make_secrets.py",
    "lb:https:key": "in the certificate: tests/unit/bootstrap/test_make_secrets.py",
    "lb:vrrp:id": "for keepalived, which reloads: tests/unit/sls/test_states.py",
    "lb:vrrp:interval": "for keepalived, which reloads: tests/unit/sls/test_states.py",
    "lb:vrrp:missed": "for keepalived, which reloads: tests/unit/sls/test_states.py",
}


@pytest.mark.parametrize("key", CHANGES)
def test_a_setting_reaches_a_balancer_that_runs_and_a_drain_stays(made, key):
    CHANGES[key](made)
    if key != "lb:backend":
        assert told(made) == {"web-1": "ready", "web-2": "drain"}
    assert "alert" not in made.log.read_text().lower()


def test_no_setting_of_the_pillar_is_left_out():
    def keys(found, path):
        for name, value in found.items():
            if isinstance(value, dict):
                yield from keys(value, f"{path}:{name}")
            else:
                yield f"{path}:{name}"

    document = yaml.safe_load((ROOT / "pillar/lb.sls").read_text())
    assert {*keys(document["lb"], "lb"), "web:port"} == CHANGES.keys() | ELSEWHERE.keys()


def test_where_haproxy_does_not_answer_nothing_is_kept_of_an_earlier_reload(tmp_path):
    state, config = tmp_path / "state", tmp_path / "haproxy.cfg"
    state.write_text("1\n# be_id\n")
    config.write_text("backend web\n    server web-1 127.0.0.2:80\n")
    save = ROOT / "salt/lb/files/save-haproxy-state"
    ran = subprocess.run([save, tmp_path / "none.sock", config, state], capture_output=True)
    assert ran.returncode != 0
    assert not state.exists()
