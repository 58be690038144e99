"""The protocol code alone: addresses, answers, refusals."""

import json
import socket
import threading

import pytest

from tests.support.loading import load

haproxy = load("_utils/haproxy.py")

# As HAProxy 2.6 printed it: web-1 ready, web-2 drained and down, web-3 in maint.
SERVERS_STATE = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 web 1 web-1 127.0.0.1 2 0 1 1 1 15 3 3 6 0 0 0 - 18081 - 0 0 - - 0
3 web 2 web-2 127.0.0.1 0 8 1 1 0 8 2 0 6 0 0 0 - 18082 - 0 0 - - 0
3 web 3 web-3 127.0.0.1 0 1 1 1 0 8 2 0 6 0 0 0 - 18083 - 0 0 - - 0
"""


DENIED = "Permission denied\n\n"


@pytest.fixture
def answering():
    """Return a function that serves fixed answers, one to each client; None means silence."""
    cleanup = []

    def serve(*answers, host="127.0.0.1", form="{}:{}"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, 0), family=family)
        held = []

        def run():
            for answer in answers:
                client, _ = listener.accept()
                held.append(client)
                client.recv(1024)
                if answer is not None:
                    client.sendall(answer.encode())
                    client.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        cleanup.append((listener, held, thread))
        return form.format(host, listener.getsockname()[1])

    yield serve
    for listener, held, thread in cleanup:
        thread.join(5)
        for client in held:
            client.close()
        listener.close()


def test_rows_of_the_server_state_are_keyed_as_haproxy_keys_them():
    rows = haproxy.parse_servers_state(SERVERS_STATE)
    assert [row["srv_name"] for row in rows] == ["web-1", "web-2", "web-3"]
    assert [row["srv_admin_state"] for row in rows] == ["0", "8", "1"]
    assert rows[0]["srv_port"] == "18081"


@pytest.mark.parametrize("text", ["", "2\n# be_id\n", "1\nno header\n"])
def test_unknown_format_of_the_server_state_is_refused(text):
    with pytest.raises(ValueError, match="unknown format"):
        haproxy.parse_servers_state(text)


@pytest.mark.parametrize("line", ["show info; quit", "show info\nquit", "show\\ info", "a\rb"])
def test_more_than_one_command_is_refused(line):
    with pytest.raises(ValueError, match="not one HAProxy command"):
        haproxy.command("/nowhere", line)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost", "the port is missing"),
        (":9999", "the port is missing"),
        ("host:http", "the port is missing"),
        ("abns@name", "is no HAProxy socket"),
    ],
)
def test_address_that_is_none(address, message):
    with pytest.raises(ValueError, match=message):
        haproxy.command(address, "show info")


def test_silence_ends_with_a_timeout(answering):
    with pytest.raises(TimeoutError, match="gave no answer within 0.2 s"):
        haproxy.command(answering(None), "show info", timeout=0.2)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("No such server.\n\n", LookupError, "No such server"),
        ("No such proxy.\n\n", LookupError, "No such proxy"),
        (DENIED, PermissionError, "level admin"),
        ("Something new.\nMore of it.\n", ValueError, "refused 'set server web/web-1.*new.$"),
    ],
)
def test_refusals_are_told_apart(answering, answer, error, message):
    with pytest.raises(error, match=message):
        haproxy.tell_server(answering(answer), "set server", "web", "web-1", "state", "drain")


def test_an_unknown_backend_is_refused_with_those_there_are(answering):
    address = answering("No such backend.\n\n", "# name\nweb\nother\n\n")
    with pytest.raises(LookupError, match=r"No such backend. \(its backends: web, other\)"):
        haproxy.tell_server(address, "disable health", "nope", "web-1")


def test_whoever_may_not_ask_is_told_nothing(answering):
    # Without the refusal it would look as if nobody was there.
    address = answering('[[{"field": {"name": "svname"}, "value": {"value": "FRONTEND"}}]]', DENIED)
    with pytest.raises(PermissionError, match="refused 'show sess all'.*level admin"):
        haproxy.connections(address, "http")


def test_an_empty_answer_is_agreement(answering):
    assert haproxy.tell_frontend(answering("\n"), "disable frontend", "http") is None


def test_no_answer_where_one_is_due_is_an_error(answering):
    with pytest.raises(ValueError, match="no answer"):
        haproxy.info(answering(""))


@pytest.mark.parametrize("form", ["[{}]:{}", "ipv6@{}:{}", "ipv6@[{}]:{}"])
def test_address_of_ipv6(answering, form):
    try:
        address = answering("Name: HAProxy\n", host="::1", form=form)
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    assert haproxy.command(address, "show info") == "Name: HAProxy"


@pytest.fixture
def says(monkeypatch):
    """Have HAProxy say this of one frontend, one after the other: its rows, and its streams.

    ``multiplexed``: how many of these each connection with HTTP/2 carries.
    """

    def say(rows, streams, multiplexed=()):
        rows, streams = iter(rows), iter(streams)

        def command(_address, line):
            if line == "show sess all":
                return "".join(
                    f"0x{number}: proto=tcpv4 \n  frontend=http (id=4)\n  rsp.st={state}\n"
                    for number, state in enumerate(next(streams))
                )
            if line == "show fd":
                line = " 15 : iocb=0x5(sock_conn_iocb) fe=http mux=H2 ctx=0x5 .flg=0x2 .nbst={} x\n"
                return "".join(line.format(number) for number in multiplexed)
            fields = dict(zip(("scur", "conn_tot"), next(rows), strict=True), svname="FRONTEND")
            return json.dumps(
                [[{"field": {"name": k}, "value": {"value": v}} for k, v in fields.items()]]
            )

        monkeypatch.setattr(haproxy, "command", command)

    return say


ASKING = "MSG_RPBEFORE"


def test_requests_that_end_meanwhile_hide_no_connection_that_is_kept(says):
    # Five of nine had a stream, and were closed before the count.
    says([(9, 20), (4, 20)], [[ASKING] * 4 + ["MSG_DATA"]])
    assert haproxy.connections("at", "http") == {
        "asking": 4,
        "answering": 1,
        "idle": 4,
        "multiplexed": 0,
    }


def test_a_connection_that_comes_meanwhile_has_them_counted_anew(says):
    says([(0, 20), (1, 21), (1, 21), (1, 21)], [[ASKING], [ASKING]])
    assert haproxy.connections("at", "http") == {
        "asking": 1,
        "answering": 0,
        "idle": 0,
        "multiplexed": 0,
    }


def test_what_carries_several_requests_is_not_kept(says):
    # Three with HTTP/2, of which one carries nothing; two without, of which one is kept.
    says([(5, 9), (5, 9)], [[ASKING, ASKING, "MSG_DATA", ASKING]], [2, 0, 1])
    assert haproxy.connections("at", "http") == {
        "asking": 3,
        "answering": 1,
        "idle": 1,
        "multiplexed": 3,
    }


def test_workers(answering):
    said = (
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "23869           master          1 [failed: 0]   0d00h00m04s     2.6.12-1+deb12u4\n"
        "# workers\n"
        "24983           worker          0               0d00h00m01s     2.6.12-1+deb12u4\n"
        "# old workers\n"
        "24120           worker          1               0d00h00m04s     2.6.12-1+deb12u4\n"
        "# programs\n\n"
    )
    assert haproxy.workers(answering(said)) == {24983: True, 24120: False}
    with pytest.raises(ValueError, match="refused 'show proc'"):
        haproxy.workers(answering("Unknown command. Please enter one of the following\n"))


def test_where_they_come_all_the_while_too_many_count_as_kept_and_never_too_few(says):
    says([(3, total) for total in range(100)], [[ASKING] * 3] * 50)
    assert haproxy.connections("at", "http")["idle"] == 1
