"""A client that openapi-python-client makes from the document works for each operation."""

import dataclasses
import importlib
import json
import re
import sys
from typing import Any

import httpx
import openapi_python_client
import pytest
from counterapp import admin, family, openapi, stream
from counterapp.counters import Key, Plan
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.strings import snake_case

from tests.unit.app.test_v1_operators import KEY as OPERATOR
from tests.unit.app.test_v1_operators import token

DOCUMENT = openapi.document("1.2.3")
OPERATIONS = {
    each["operationId"]: (each["tags"][0], path)
    for path, item in DOCUMENT["paths"].items()
    for method, each in item.items()
    if method != "parameters"
}
"""Of each operation where it is in the client, and its path."""

# What the generator has to be told: docs/api.md.
MEDIA = {"image/svg+xml": "text/plain"}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The name of the package that was made."""
    folder = tmp_path_factory.mktemp("client")
    source = folder / "openapi.json"
    source.write_text(json.dumps(DOCUMENT))
    config = Config.from_sources(
        ConfigFile(content_type_overrides=MEDIA, post_hooks=[]),
        MetaType.NONE,
        document_source=source,
        file_encoding="utf-8",
        overwrite=False,
        output_path=folder / "generated_counterapp",
    )
    # It cannot send CSV, and so sends imports as JSON.
    told = openapi_python_client.generate(config=config)
    assert [each.detail for each in told] == ["Unsupported content type text/csv"]
    sys.path.insert(0, str(folder))
    yield "generated_counterapp"
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("generated_counterapp")]:
        del sys.modules[name]


OWNER = "an-admin-key-of-more-than-32-characters"
BOTH = {"namespace": "site", "name": "page"}


@dataclasses.dataclass(frozen=True)
class Case:
    """How one operation is called, and what comes of it."""

    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    answer: str | None = None
    """The class of what is answered; None for nothing."""
    members: dict[str, Any] = dataclasses.field(default_factory=dict)
    body: tuple[str, Any] | None = None
    """The class of what is sent, and its JSON."""
    status: int = 200
    token: str | None = None


RECORDS = [{"namespace": "site", "key": "other", "value": 5}]
#: In place of an operator's token, which is made when it is used: it ends after a minute.
OPERATED = "an operator's"
SEVEN = {"value": 7}

CASES = {
    "createCounter": Case(
        answer="NewCounter",
        members={"value": 3, "admin_key": str},
        body=("Plan", {"namespace": "site", "key": "fresh", "value": 3}),
        status=201,
    ),
    "listCounters": Case(answer="Page", members={"items": list, "next_": None}, token=OWNER),
    "readCounter": Case(BOTH, "Counter", {**SEVEN, "namespace": "site", "owned": True}),
    "deleteCounter": Case(BOTH, status=204, token=OWNER),
    "readHistory": Case(BOTH, "History", {"resolution": str, "points": list}),
    "hit": Case({**BOTH, "idempotency_key": "1"}, "Counted", {"value": 8, "replayed": False}),
    "updateCounter": Case(
        BOTH, "Counted", {"value": 12}, body=("Amount", {"amount": 5}), token=OWNER
    ),
    "setCounter": Case(
        BOTH, "Set", {"value": 1, "previous": 7}, body=("Value", {"value": 1}), token=OWNER
    ),
    "readRequests": Case(answer="Requests", members={"total": 0, "node": "web-1"}),
    "readStats": Case(answer="Stats", members={"counters": 2}),
    "readDocument": Case(answer="ReadDocumentResponse200"),
    "live": Case(answer="Live", members={"live": True}),
    "ready": Case(answer="Ready", members={"ready": True}),
    "importCounts": Case(
        answer="Imported", members={"taken": 1, "refused": []}, body=("RecordsItem", RECORDS)
    ),
    "exportCounts": Case(answer="namespace,key,value\r\ndefault,page,7\r\n", token=OWNER),
    "operatorSetCounter": Case(
        BOTH, "Set", {"value": 1, "previous": 7}, body=("Value", {"value": 1}), token=OPERATED
    ),
    "operatorDeleteCounter": Case(BOTH, status=204, token=OPERATED),
    "operatorDeleteCounters": Case(
        {"prefix": "site/", "confirm": "site/"}, "Deleted", {"deleted": 1}, token=OPERATED
    ),
    "badge": Case({**BOTH, "hit": True, "separator": ","}, ">8</text>"),
    "badgeDefault": Case({"name": "page", "abbreviated": True}, ">7</text>"),
    "badgeData": Case({**BOTH, "label": "views"}, "Badge", {"label": "views", "message": "7"}),
    "badgeDataDefault": Case({"name": "page"}, "Badge", {"message": "7"}),
    "follow": Case(BOTH, 'data: {"value": 7, "node": null}'),
    "followDefault": Case({"name": "page"}, 'data: {"value": 7, "node": null}'),
}
COMPATIBLE = {
    "hit": Case(answer="CompatValue", members={"value": 8}),
    "get": Case(answer="CompatValue", members=SEVEN),
    "info": Case(answer="CompatInfo", members={**SEVEN, "enable_reset": True}),
    "update": Case({"amount": 5}, "CompatValue", {"value": 12}, token=OWNER),
    "set": Case({"value": 1}, "CompatChange", {"value": 1, "old_value": 7}, token=OWNER),
    "reset": Case(answer="CompatChange", members={"value": 0, "old_value": 7}, token=OWNER),
    "delete": Case(answer="CompatDeleted", members={"status": "ok"}, token=OWNER),
    "create": Case({"value": 3}, "CompatMade", {"value": 3, "admin_key": str}),
    "stats": Case(answer="CompatStats", members={"keys_created": 2}),
    "healthcheck": Case(answer="CompatHealth", members={"status": "ok"}),
}
SHIELDS = {"hit": Case({"text": "views"}, ">8</text>"), "get": Case({}, ">7</text>")}


def case_of(operation):
    tag, path = OPERATIONS[operation]
    if tag != "compatible":
        return CASES[operation]
    verb = family.verb(path)
    case = (SHIELDS if path.endswith("/shield") else COMPATIBLE)[verb]
    words = {word: BOTH[word] for word in re.findall(r"{(\w+)}", path)}
    status = 200
    if verb == "create":
        words |= {"name": "fresh"} if words else {}
        countapi = path.startswith(family.COUNTAPI)
        # CountAPI's clients take nothing but 200, Abacus has always said 201.
        status = 201 if words or (operation.endswith("ByPost") and not countapi) else 200
        if countapi:
            case = dataclasses.replace(case, members={"value": 3})
    return dataclasses.replace(case, arguments={**case.arguments, **words}, status=status)


@pytest.fixture
def settings(settings):
    return dataclasses.replace(settings, operator_key=OPERATOR)


@pytest.fixture
def call(package, app, store):
    """Return a function that does an operation, where two counters are owned and have 7 hits."""
    for namespace in ("site", "default"):
        store.create(Key.make(namespace, "page"), Plan(value=7), admin.digest(OWNER))

    def do(operation, case):
        client = importlib.import_module(package)
        models = importlib.import_module(f"{package}.models")
        arguments = dict(case.arguments)
        if case.body:
            read = getattr(models, case.body[0]).from_dict
            sent = case.body[1]
            arguments["body"] = [read(each) for each in sent] if type(sent) is list else read(sent)
        options = {
            "base_url": "http://counts.example",
            "httpx_args": {"transport": httpx.WSGITransport(app=app)},
        }
        module = f"{package}.api.{OPERATIONS[operation][0]}.{snake_case(operation)}"
        if case.token:
            given = case.token
            if given == OPERATED:
                given = token(key=OPERATOR)["Authorization"].removeprefix("Bearer ")
            who = client.AuthenticatedClient(token=given, **options)
        else:
            who = client.Client(**options)
        return importlib.import_module(module).sync_detailed(client=who, **arguments)

    return do


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_does_what_it_says(call, monkeypatch, operation):
    monkeypatch.setattr(stream, "LIFE", 0.1)
    case = case_of(operation)
    answer = call(operation, case)
    assert answer.status_code == case.status, answer.content
    if isinstance(answer.parsed, str):
        assert case.answer in answer.parsed
        return
    assert type(answer.parsed).__name__ == (case.answer or "NoneType")
    for name, wanted in case.members.items():
        found = getattr(answer.parsed, name)
        assert isinstance(found, wanted) if isinstance(wanted, type) else found == wanted, name


def test_what_is_refused_is_told_in_words(call, store):
    missing = Case({"namespace": "site", "name": "nobody"})
    told = call("readCounter", missing)
    assert (told.status_code, type(told.parsed).__name__) == (404, "Problem")
    assert "There is no counter site/nobody" in told.parsed.detail
    told = call("compatGet", missing)
    assert (told.status_code, told.parsed.error) == (404, "Key not found")
    store.broken = "gone"
    told = call("badge", missing)
    assert (told.status_code, told.headers["Retry-After"]) == (503, "2")
    assert "unavailable" in told.parsed
