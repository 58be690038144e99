"""Counts that come from elsewhere, and one's own counts to take away: CSV and JSON.

What :func:`exported_csv` and :func:`exported_json` write, an import takes.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple

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

SEPARATORS = ";\t,"
"""What may be between the values of a CSV: spreadsheets write ';' in many countries."""

LONGEST_TEXT = 120
"""Characters that a refusal quotes of a record."""

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
                return _cut_off(error, batch[0][0].number, refused, taken=taken, **told)
            longest = max(longest, monotonic() - began)
            taken += results.count(None)
            for (row, record), reason in zip(batch, results, strict=True):
                if reason is not None:
                    refused.append(row.refusal(reason, record.key))
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


class _Row(NamedTuple):
    """What should be a record, as it came."""

    number: int
    """Which one, from 1."""
    content: Any
    line: int | None = None
    """On which line of a CSV it begins, from 1."""

    values: Sequence[str] = ()
    """What stands there."""

    def refusal(self, reason: str, key: Key | None = None) -> dict[str, Any]:
        """Return what is told of it when it is refused."""
        named = {"namespace": key.namespace, "key": key.name} if key else {}
        placed = {} if self.line is None else {"line": self.line}
        return {"record": self.number, **placed, "text": self._text(), **named, "reason": reason}

    def _text(self) -> str:
        text = ",".join(self.values) if self.values else json.dumps(self.content)
        return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _rows() -> Iterator[_Row]:
    """Yield what should be records, from whichever form the body has."""
    if request.mimetype == "text/csv":
        return _csv_rows(inputs.text())
    if request.mimetype != "application/json":
        abort(415, "An import is CSV ('Content-Type: text/csv') or JSON ('application/json').")
    rows = inputs.json_value()
    if not isinstance(rows, list):
        abort(422, "An import in JSON is a list of objects with namespace, key and value.")
    return (_Row(number, row) for number, row in enumerate(rows, 1))


def _csv_rows(text: str) -> Iterator[_Row]:
    first = text.partition("\n")[0]
    separator = next((each for each in SEPARATORS if each in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        if len(set(header)) < len(header) or not {"key", "value"} <= set(header) <= set(COLUMNS):
            abort(422, "The first line of the CSV must be 'namespace,key,value' or 'key,value'.")
        number, begins = 0, reader.line_num + 1
        for row in reader:
            if row:
                number += 1
                # One of another width is no record, and refused as such.
                content = _csv_row(header, row) if len(row) == len(header) else row
                yield _Row(number, content, begins, row)
            begins = reader.line_num + 1
    except csv.Error as error:
        abort(400, f"The body is not valid CSV: line {reader.line_num}: {error}.")


def _csv_row(header: list[str], row: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = dict(zip(header, row, strict=True))
    if _VALUE.fullmatch(found["value"].strip(" ")):
        found["value"] = int(found["value"])
    if found.get("namespace") == "":
        del found["namespace"]
    return found


def _sorted_out(rows: Iterator[_Row]) -> tuple[list[tuple[_Row, Record]], list[dict[str, Any]]]:
    """Return the records by their rows, and the refusals of what is none."""
    records: dict[Key, tuple[_Row, Record]] = {}
    refused = []
    for row in rows:
        if row.number > MAX_RECORDS:
            abort(422, f"One import has at most {MAX_RECORDS} counts: send several.")
        try:
            record = _record(row.content)
        except ValueError as error:
            refused.append(row.refusal(str(error)))
            continue
        if record.key in records:
            earlier = records[record.key][0].number
            refused.append(row.refusal(f"Record {earlier} has this name too.", record.key))
        else:
            records[record.key] = (row, record)
    return list(records.values()), refused


def _record(content: Any) -> Record:
    if not isinstance(content, dict):
        raise ValueError("A record has a key, a value, and a namespace if not the default one.")
    found = inputs.members(content, CHECKS, ["key", "value"])
    return Record(Key(found.get("namespace", DEFAULT_NAMESPACE), found["key"]), found["value"])


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
