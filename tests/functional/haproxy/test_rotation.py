"""Who gets requests: those that are ready; and where none is, those that live and may have some."""

import pytest

from tests.functional.haproxy.role import Balancer
from tests.support.loading import load

haproxy = load("_utils/haproxy.py")


@pytest.fixture
def balancer(tmp_path):
    made = Balancer(tmp_path)
    yield made
    made.stop()


def answered(balancer, times=12):
    """Ask so often; return who answered, or the status that was none of a server."""
    answers = [balancer.answer("GET", "/api/v1/requests") for _ in range(times)]
    return {each.body if each.status == 200 else str(each.status) for each in answers}


def test_one_that_is_not_ready_gets_none_while_another_is(balancer):
    first, second = balancer.webs
    first.ready = False
    balancer.until_up("web-2")
    assert answered(balancer) == {"web-2"}
    first.ready, second.live = True, False
    balancer.until_up("web-1")
    assert answered(balancer) == {"web-1"}
    second.live = True
    balancer.until_up("web-1", "web-2")


def test_while_none_is_ready_those_that_live_go_on(balancer):
    first, second = balancer.webs
    first.ready = second.ready = False
    balancer.until_up(backend="web-ready")
    balancer.until_up("web-1", "web-2")
    assert answered(balancer) == {"web-1", "web-2"}
    first.live = False
    balancer.until_up("web-2")
    assert answered(balancer) == {"web-2"}
    # The first one that can do all of it has all of it.
    first.live = first.ready = True
    balancer.until_up("web-1")
    assert answered(balancer) == {"web-1"}


def test_nobody_is_refused_while_all_of_them_cease_to_be_ready(balancer):
    for web in balancer.webs:
        web.ready = False
    while any(balancer.servers("web-ready").values()):
        assert "503" not in answered(balancer, 1)
    assert "503" not in answered(balancer, 100)


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not ready"])
@pytest.mark.parametrize("out", ["drain", "maint", "weight 0"])
def test_one_that_was_taken_out_gets_none_whatever_the_others_are(balancer, out, ready):
    first, second = balancer.webs
    first.ready, second.ready = False, ready
    words = out.split() if out == "weight 0" else ["state", out]
    haproxy.tell_server(balancer.socket, "set server", "web", "web-2", *words)
    balancer.until_up(*(["web-2"] if ready else []), backend="web-ready")
    balancer.until_up("web-1", *(["web-2"] if out != "maint" else []))
    assert answered(balancer) == {"web-1"}
    first.live = False
    balancer.until_up(*(["web-2"] if out != "maint" else []))
    assert answered(balancer) == {"503"}
