"""HTTPS at the VIP: which connections there are, and who is sent on to it."""

import contextlib
import socket
import ssl
import subprocess

import httpx
import pytest

from tests.functional.haproxy.role import Balancer, configure
from tests.support import certificates
from tests.support.loading import minion_loader

HIT = "/api/v1/counters/default/pages/hits"


@pytest.fixture
def balancer(tmp_path):
    """Returns what makes a balancer with HTTPS."""
    with contextlib.ExitStack() as stack:

        def make(**context):
            made = Balancer(tmp_path, **{"https": {}, **context})
            stack.callback(made.stop)
            return made

        yield make


def handshake(made, **settings):
    """Connect with TLS; return the protocol, the cipher and what is spoken on it."""
    context = made.authority.context()
    for name, value in settings.items():
        setattr(context, name, value)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", made.secure_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="counts.example") as secure,
    ):
        return secure.version(), secure.cipher()[0], secure.selected_alpn_protocol()


def test_it_is_served_with_tls_and_http_2(balancer):
    made = balancer()
    assert made.answer("GET", HIT, secure=True).status == 200
    assert handshake(made)[::2] == ("TLSv1.3", "h2")
    with httpx.Client(http2=True, verify=made.authority.context()) as client:
        answer = client.get(f"https://127.0.0.1:{made.secure_port}{HIT}")
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")


def test_the_oldest_protocol_is_tls_1_2_without_weak_ciphers(balancer):
    made = balancer()
    version, cipher, _ = handshake(made, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert version == "TLSv1.2"
    assert cipher.startswith("ECDHE-ECDSA-")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{made.secure_port}"]
    # The client itself must be willing, or else it refuses before the server does.
    for words in (
        ["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
    ):
        done = subprocess.run(
            [*command, *words], input="", capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 1, words
        assert "alert" in done.stderr, words


def test_no_session_can_be_resumed_with_a_ticket(balancer):
    made = balancer()
    context = made.authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", made.secure_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="counts.example") as secure,
    ):
        assert secure.session.has_ticket is False


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_who_comes_without_is_sent_on(balancer, method):
    made = balancer()
    answer = made.answer(method, f"{HIT}?a=%C3%A9&b=1", {"Host": f"Counts.example:{made.port}"})
    assert answer.status == 308
    wanted = f"https://Counts.example:{made.secure_port}{HIT}?a=%C3%A9&b=1"
    assert answer.head["Location"] == wanted
    # A page of another site may follow it.
    assert answer.head["Access-Control-Allow-Origin"] == "*"
    assert made.asked(HIT) == 0


def test_a_client_that_follows_is_counted_once(balancer):
    made = balancer()
    with httpx.Client(verify=made.authority.context(), follow_redirects=True) as client:
        answer = client.post(f"http://127.0.0.1:{made.port}{HIT}")
    assert (answer.status_code, answer.url.scheme) == (200, "https")
    assert made.asked(HIT) == 1


def test_who_is_sent_on_stays_with_the_host_that_was_asked_for(balancer):
    made = balancer()
    for host, wanted in (("a.example", "a.example"), ("[::1]:80", "[::1]"), ("a:", "a")):
        location = made.answer("GET", "/x?y", {"Host": host}).head["Location"]
        assert location == f"https://{wanted}:{made.secure_port}/x?y"
    with socket.create_connection(("127.0.0.1", made.port), timeout=10) as client:
        client.sendall(b"GET /old HTTP/1.0\r\n\r\n")
        wanted = f"\r\nlocation: https://127.0.0.1:{made.secure_port}/old\r\n".encode()
        assert wanted in client.recv(4096).lower()


def test_the_port_that_everybody_knows_is_not_said(tmp_path):
    lb = {"frontend_port": 80, "metrics_port": 8405, "backend": "web", "maxconn": 9, "socket": "s"}
    config = configure(
        tmp_path,
        lb=lb,
        https={"enabled": True},
        vip="10.9.0.200",
        address="10.9.0.21",
        servers={"web-1": "10.9.0.11"},
        port=8000,
    ).read_text()
    assert "location https://%[var(txn.name)]%[pathq] if" in config
    assert config.count(":443 ") == 2


def test_what_is_listed_is_answered_without(balancer):
    made = balancer(https={"plain": ["/hit/", "/get/"]})
    assert made.ask("GET", "/hit/default/pages") == 200
    assert made.ask("GET", "/get/default/pages?callback=a") == 200
    assert made.ask("GET", "/update/default/pages") == 308
    assert made.ask("GET", "/") == 308
    everything = balancer(https={"plain": ["/"]})
    assert everything.ask("GET", "/") == 200


@pytest.mark.parametrize("seconds", [0, 31536000])
def test_browsers_are_told_to_stay_when_that_is_wanted(balancer, seconds):
    made = balancer(https={"hsts": seconds, "plain": ["/hit/"]})
    name = "Strict-Transport-Security"
    wanted = f"max-age={seconds}" if seconds else None
    assert made.answer("GET", "/", secure=True).head[name] == wanted
    for web in made.webs:
        web.dying = True
    # What HAProxy says itself, too. Without TLS it would mean nothing (RFC 6797, 7.2).
    assert made.answer("GET", "/", secure=True).head[name] == wanted
    assert made.answer("GET", "/hit/a/b").head[name] is None


def test_what_one_client_may_have_goes_for_both(balancer):
    made = balancer(limits={"requests": 4}, https={"plain": ["/get/"]})
    # One was made to see whether it serves.
    statuses = [made.answer("GET", "/get/a/b", secure=n % 2 == 0).status for n in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_it_can_be_switched_off(tmp_path):
    made = Balancer(tmp_path)
    try:
        assert made.ask("GET", HIT) == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", made.secure_port), timeout=10)
        assert "ssl" not in (tmp_path / "haproxy.cfg").read_text().replace("{ ssl_fc }", "")
    finally:
        made.stop()


# Another certificate


@pytest.fixture
def salt(tmp_path):
    """Returns a minion's functions and states, for real and with test=True."""
    settings = {"haproxy.socket": str(tmp_path / "admin.sock")}
    return tuple(
        minion_loader(tmp_path / f"salt-{test}", test=test, **settings) for test in (False, True)
    )


def test_another_certificate_is_shown_without_a_reload(balancer, salt):
    made = balancer()
    real, dry = salt
    path = str(made.certificate)
    address = ("127.0.0.1", made.secure_port)
    show = real.states["haproxy.certificate_shown"]
    assert real.modules["haproxy.certificates"]() == [path]
    before = real.modules["haproxy.certificate"](path)
    assert before["subject"] == "/CN=counts.example"
    assert before["names"][0] == "counts.example"
    assert show(path)["changes"] == {}
    old = certificates.first(made.certificate)
    # A connection that is there goes on.
    with httpx.Client(http2=True, verify=made.authority.context()) as client:
        url = f"https://127.0.0.1:{made.secure_port}/"
        assert client.get(url).status_code == 200
        made.certificate.write_text("\n" + made.authority.certify("counts.example", "b.example"))
        would = dry.states["haproxy.certificate_shown"](path)
        assert (would["result"], would["changes"]["certificate"]["old"]) == (
            None,
            before["fingerprint"],
        )
        assert certificates.shown(address, made.authority.context()) == old
        done = show(path)
        assert done["result"] is True, done
        assert done["changes"] == would["changes"]
        assert client.get(url).status_code == 200
    now = certificates.shown(address, made.authority.context())
    assert now == certificates.first(made.certificate)
    assert real.modules["haproxy.certificate"](path)["names"] == ["counts.example", "b.example"]
    assert show(path)["changes"] == {}
    assert dry.states["haproxy.certificate_shown"](path)["result"] is True
    # What comes after the first certificate cannot be asked for.
    watched = real.states["haproxy.mod_watch"](path, sfun="certificate_shown")
    assert watched["changes"]["certificate"]["new"] == done["changes"]["certificate"]["new"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "does not take"),
        ("without its key", "does not take"),
        ("with another key", "does not take"),
    ],
)
def test_what_is_no_certificate_with_its_key_changes_nothing(balancer, salt, text, words):
    made = balancer()
    before = certificates.first(made.certificate)
    mine, other = (made.authority.certify("a.example") for _ in range(2))
    key = "-----BEGIN PRIVATE KEY"
    made.certificate.write_text(
        {
            "without its key": mine.partition(key)[0],
            "with another key": mine.partition(key)[0] + key + other.partition(key)[2],
        }.get(text, text)
    )
    done = salt[0].states["haproxy.certificate_shown"](str(made.certificate))
    assert done["result"] is False
    assert words in done["comment"]
    assert "PRIVATE" not in done["comment"]
    assert done["changes"] == {}
    shown = certificates.shown(("127.0.0.1", made.secure_port), made.authority.context())
    assert shown == before
    # Nothing is left that would stand in the way of a good one.
    made.certificate.write_text(made.authority.certify("b.example"))
    assert salt[0].states["haproxy.certificate_shown"](str(made.certificate))["result"] is True


def test_a_file_that_haproxy_has_not_loaded_is_named(balancer, salt, tmp_path):
    made = balancer()
    other = tmp_path / "other.pem"
    other.write_text(made.authority.certify("a.example"))
    done = salt[0].states["haproxy.certificate_shown"](str(other), timeout=0.2)
    assert done["result"] is False
    assert f"no certificate {other}" in done["comment"]
    assert str(made.certificate) in done["comment"]
    would = salt[1].states["haproxy.certificate_shown"](str(other))
    assert would["result"] is None
    for wrong in ("/a b", "/a;show info", ""):
        done = salt[0].states["haproxy.certificate_shown"](wrong)
        assert done["result"] is False
