"""Counts that come from elsewhere, and one's own counts to take away: CSV and JSON.

What :func:`exported_csv` and :func:`exported_json` write, an import takes.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from time import monotonic
from typing import Any

from flask import Blueprint, Response, abort, g, json, request

from counterapp import access, admin, inputs, problems
from counterapp.counters import (
    DEFAULT_NAMESPACE,
    Counter,
    CounterStore,
    Key,
    Record,
    StoreError,
    StoreUnavailable,
)
from counterapp.limits import Limits

MAX_BODY = 1024 * 1024
MAX_RECORDS = 10_000
"""How many counts one import may have; who has more sends several."""

BATCH = 1000
"""How many counters are written at a time: what a store takes at most."""

TIME = 20.0
"""Seconds after which an import ends itself: before the balancer does, which would tell nothing."""

COLUMNS = ("namespace", "key", "value")

_VALUE = re.compile("[+-]?[0-9]{1,16}")

CHECKS = {"namespace": inputs.name, "key": inputs.name, "value": inputs.integer()}


def add_routes(
    api: Blueprint, store: CounterStore, rules: access.Operators, limits: Limits
) -> None:
    """Add import and export to the API."""

    @api.post("/import")
    def take() -> dict[str, Any] | Response:
        request.max_content_length = MAX_BODY
        replace = inputs.choice(inputs.query("replace"), "replace", ("false", "true")) == "true"
        given = access.owner_to_be()
        records, refused = _sorted_out(_rows())
        limits.use_imports(g.client, len(records))
        secret = given or admin.make()
        told = {} if given else {"admin_key": secret}
        taken, begun, longest = 0, monotonic(), 0.0
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            began = monotonic()
            try:
                if began + longest > begun + TIME:
                    raise StoreUnavailable(f"An import ends itself after {TIME:.0f} s")
                results = store.take([each for _, each in batch], replace, admin.digest(secret))
            except StoreError as error:
                limits.leave_imports(g.client, len(records) - start)
                # Of the batch some may be there by now: without their key, nobody could try again.
                return _cut_off(error, batch[0][0], refused, taken=taken, **told)
            longest = max(longest, monotonic() - began)
            taken += results.count(None)
            for (number, record), reason in zip(batch, results, strict=True):
                if reason is not None:
                    refused.append(_refusal(number, reason, record.key))
        refused.sort(key=lambda each: each["record"])
        answer = {"taken": taken, "refused": refused}
        return {**told, **answer} if taken else answer

    @api.get("/export")
    def give() -> Response:
        form = inputs.choice(inputs.query("format"), "format", ("csv", "json"))
        owner = rules.owner_or_operator()
        found = store.all(owner)
        # Asked for here, so that a store that cannot answer is a 503 and not a broken body. Later
        # the connection is cut, which no client takes for the end.
        first = list(itertools.islice(found, 1))
        if owner is not None and not first:
            access.owns_some(owner, store)
        write, mimetype = FORMATS[form]
        response = Response(write(itertools.chain(first, found)), mimetype=mimetype)
        response.headers["Content-Disposition"] = f'attachment; filename="counters.{form}"'
        return response


def _cut_off(
    error: StoreError, record: int, refused: list[dict[str, Any]], **members: Any
) -> Response:
    """Answer an import that did not come to its end: what became of all before ``record``."""
    before = [each for each in refused if each["record"] < record]
    before.sort(key=lambda each: each["record"])
    return problems.refusal(error, refused=before, record=record, **members)


def _rows() -> Iterator[Any]:
    """Yield what should be records, from whichever form the body has."""
    if request.mimetype == "text/csv":
        return _csv_rows(inputs.text())
    if request.mimetype != "application/json":
        abort(415, "An import is CSV ('Content-Type: text/csv') or JSON ('application/json').")
    rows = inputs.json_value()
    if not isinstance(rows, list):
        abort(422, "An import in JSON is a list of objects with namespace, key and value.")
    return iter(rows)


def _csv_rows(text: str) -> Iterator[Any]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        if len(set(header)) < len(header) or not {"key", "value"} <= set(header) <= set(COLUMNS):
            abort(422, "The first line of the CSV must be 'namespace,key,value' or 'key,value'.")
        for row in reader:
            if row:
                # One of another width is no record, and refused as such.
                yield _csv_row(header, row) if len(row) == len(header) else row
    except csv.Error as error:
        abort(400, f"The body is not valid CSV: line {reader.line_num}: {error}.")


def _csv_row(header: list[str], row: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = dict(zip(header, row, strict=True))
    if _VALUE.fullmatch(found["value"].strip(" ")):
        found["value"] = int(found["value"])
    if found.get("namespace") == "":
        del found["namespace"]
    return found


def _sorted_out(rows: Iterator[Any]) -> tuple[list[tuple[int, Record]], list[dict[str, Any]]]:
    """Return the records by their number, and the refusals of what is none."""
    records: dict[Key, tuple[int, Record]] = {}
    refused = []
    for number, row in enumerate(rows, 1):
        if number > MAX_RECORDS:
            abort(422, f"One import has at most {MAX_RECORDS} counts: send several.")
        try:
            record = _record(row)
        except ValueError as error:
            refused.append(_refusal(number, str(error)))
            continue
        if record.key in records:
            earlier = records[record.key][0]
            refused.append(_refusal(number, f"Record {earlier} has this name too.", record.key))
        else:
            records[record.key] = (number, record)
    return list(records.values()), refused


def _record(row: Any) -> Record:
    if not isinstance(row, dict):
        raise ValueError("A record has a key, a value, and a namespace if not the default one.")
    found = inputs.members(row, CHECKS, ["key", "value"])
    return Record(Key(found.get("namespace", DEFAULT_NAMESPACE), found["key"]), found["value"])


def _refusal(number: int, reason: str, key: Key | None = None) -> dict[str, Any]:
    named = {"namespace": key.namespace, "key": key.name} if key else {}
    return {"record": number, **named, "reason": reason}


def exported_csv(found: Iterator[Counter]) -> Iterator[str]:
    """Yield counters as CSV, one line each."""
    # No name and no number has a character that would need quotes.
    yield ",".join(COLUMNS) + "\r\n"
    for each in found:
        yield f"{each.key.namespace},{each.key.name},{each.value}\r\n"


def exported_json(found: Iterator[Counter]) -> Iterator[str]:
    """Yield counters as one JSON list, one line each."""
    separator = "["
    for each in found:
        values = (each.key.namespace, each.key.name, each.value)
        yield f"{separator}\n{json.dumps(dict(zip(COLUMNS, values, strict=True)))}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


FORMATS = {
    "csv": (exported_csv, "text/csv"),
    "json": (exported_json, "application/json"),
}
