"""Verification, with a real HTTP server in the VIP's place."""

import json
import ssl
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleet import certificate, revision, secret_files
from fleet.errors import FleetError
from fleet.minions import Answers
from fleet.verify import verify
from tests.support.certificates import Authority
from tests.support.checkout import Checkout


class Counter(BaseHTTPRequestHandler):
    """Counts hits like the app, or as wrongly as a test wants it."""

    def do_GET(self):
        if self.path == "/readyz":
            self._answer({"ready": True})
        else:
            self._answer({"value": self.server.count})

    def do_POST(self):
        self.server.count += self.server.steps.pop(0) if self.server.steps else 1
        node = ("one", "two")[self.server.count % 2]
        self._answer({"value": self.server.count, "node": node})

    def _answer(self, body):
        raw = json.dumps(self.server.other or body).encode()
        self.send_response(self.server.code)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        pass


class Webs:
    """Web nodes that say of their health what a test wants."""

    def __init__(self):
        self.health = {"ready": True, "release": "1.0", "reason": ""}

    def everyone(self, nodes, function, *_args):
        assert function == "counterapp.health"
        return Answers(answers={node: self.health for node in nodes})


@pytest.fixture(params=["http", "https"])
def vip(request, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.2", 0), Counter)
    server.count, server.steps, server.code, server.other = 5, [], 200, None
    server.scheme = request.param
    # As the operator's own may be: good for a name, and not for the VIP.
    server.certificate = Authority().certify("counts.example", address="127.0.0.3")
    if server.scheme == "https":
        server.socket = context(tmp_path, server.certificate).wrap_socket(
            server.socket, server_side=True
        )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def webs():
    return Webs()


@pytest.fixture
def rolled_out(tmp_path, vip):
    checkout = Checkout(tmp_path)
    port = vip.server_address[1]
    https = {"enabled": vip.scheme == "https", "port": port}
    checkout.pillar("lb", {"frontend_port": port, "backend": "web", "https": https})
    held = {"secrets": {certificate.CERTIFICATE: vip.certificate}}
    secret_files.write(checkout.master, certificate.CERTIFICATE, held)
    found = revision.capture(checkout.master, "1.0")
    return types.SimpleNamespace(master=checkout.master, revision=found)


def context(folder, certificate):
    """Return how a server shows a certificate."""
    (folder / "shown.pem").write_text(certificate)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "shown.pem")
    return made


def verified(webs, rolled_out, **kwargs):
    return verify(rolled_out.master, webs, rolled_out.revision, **kwargs)


def failed(*args, **kwargs):
    with pytest.raises(FleetError) as error:
        verified(*args, **kwargs)
    return error.value.problems


def test_hits_are_counted_exactly(rolled_out, webs, vip):
    assert verified(webs, rolled_out, hits=6) == {
        "url": f"{vip.scheme}://127.0.0.2:{vip.server_address[1]}/",
        "hits": 6,
        "by_node": {"one": 3, "two": 3},
        "release": "1.0",
    }


@pytest.mark.parametrize("steps", [[1, 1, 2], [1, 0]])
def test_a_hit_counted_twice_or_never_is_a_failure(rolled_out, webs, vip, steps):
    vip.steps = list(steps)
    [reason] = failed(webs, rolled_out, hits=4)
    assert f"hit {len(steps)} through" in reason


def test_another_release_is_a_failure_of_its_node(rolled_out, webs):
    assert failed(webs, rolled_out, hits=1, release="2.0") == [
        "one: it answers with 1.0, not 2.0",
        "two: it answers with 1.0, not 2.0",
    ]


def test_a_node_that_is_not_ready_is_named_with_its_reason(rolled_out, webs):
    webs.health = {"ready": False, "release": "1.0", "reason": "no database"}
    assert failed(webs, rolled_out, hits=1)[0] == "one: it is not ready: no database"


def test_no_hits_prove_nothing(rolled_out, webs):
    assert failed(webs, rolled_out, hits=0) == ["hits must be a whole number from 1 on, not 0"]


def test_nobody_at_the_vip(rolled_out, webs, vip):
    vip.shutdown()
    vip.server_close()
    [reason] = failed(webs, rolled_out, timeout=0)
    assert reason.startswith(f"not within 0 s: {vip.scheme}://127.0.0.2:")
    assert "Connection refused" in reason


def test_an_answer_that_says_no_is_told_with_its_code(rolled_out, webs, vip):
    vip.code = 503
    [reason] = failed(webs, rolled_out, timeout=0)
    assert reason.endswith("/readyz was answered with 503")


def test_something_else_at_the_vip_is_told(rolled_out, webs, vip):
    vip.other = ["another app"]
    [reason] = failed(webs, rolled_out, hits=1)
    assert "was not answered by the app" in reason


@pytest.mark.parametrize("vip", ["https"], indirect=True)
def test_who_shows_another_certificate_is_not_asked(rolled_out, webs, vip):
    # Of the same names, so only its key tells it from the one that balancers were given.
    other = Authority().certify("counts.example", address="127.0.0.3")
    secret_files.write(
        rolled_out.master, certificate.CERTIFICATE, {"secrets": {certificate.CERTIFICATE: other}}
    )
    [reason] = failed(webs, rolled_out, timeout=0)
    assert "CERTIFICATE_VERIFY_FAILED" in reason
    assert vip.count == 5


@pytest.mark.parametrize("vip", ["https"], indirect=True)
@pytest.mark.parametrize(("text", "words"), [(None, "is missing"), ("none", "has no certificate")])
def test_a_certificate_that_was_not_made_is_told_with_the_remedy(rolled_out, webs, text, words):
    where = secret_files.path(rolled_out.master, certificate.CERTIFICATE)
    if text:
        where.write_text(json.dumps({"secrets": {certificate.CERTIFICATE: text}}))
    else:
        where.unlink()
    [reason] = failed(webs, rolled_out)
    assert words in reason
    assert "make-secrets" in reason
