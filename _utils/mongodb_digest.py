"""
Sums over documents that do not depend on their order, and documents as bytes.

The hash of a collection is the sum, modulo 2²⁵⁶, of the SHA-256 of each document's BSON. Two
collections have the same one if they have the same documents, byte for byte, in whatever order they
are read; it guards against accidents, not against somebody who makes up documents to hide a change.
"""

import hashlib
import re
import struct
from collections.abc import Iterator
from typing import Any

try:
    import bson
    from bson.codec_options import CodecOptions, DatetimeConversion
    from bson.raw_bson import RawBSONDocument

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

MODULUS = 1 << 256
_LENGTH = struct.Struct("<i")
_NAME = b"_id\x00"
_FIXED = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16}
# How the numbers among them are written; the server compares the first three with one another.
_NUMBERS = {
    0x01: (0x10, struct.Struct("<d")),
    0x10: (0x10, struct.Struct("<i")),
    0x12: (0x10, struct.Struct("<q")),
    0x09: (0x09, struct.Struct("<q")),
    0x11: (0x11, struct.Struct("<Q")),
}
_TEXTS = frozenset((0x02, 0x0D, 0x0E))
_ZERO_TIMESTAMP = re.compile(rb"\x11[^\x00]+\x00{9}")


def __virtual__() -> bool | tuple[bool, str]:
    if not HAS_PYMONGO:
        return False, "PyMongo is missing in Salt's Python: salt-pip install pymongo"
    return True


class Sum:
    """The number of documents and their hash, one document after the other."""

    def __init__(self) -> None:
        self.documents = 0
        self._total = 0

    def add(self, document: bytes) -> None:
        """Count a document in."""
        self.documents += 1
        self._total += int.from_bytes(hashlib.sha256(document).digest(), "big")

    @property
    def hash(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._total % MODULUS:064x}"


def start() -> Sum:
    """Return a sum of no documents."""
    return Sum()


def split(chunk: bytes) -> Iterator[bytes]:
    """Yield the documents of ``chunk``, which holds whole ones, one behind the other.

    :raises ValueError: the lengths that they say they have do not add up.
    """
    position, end = 0, len(chunk)
    while position < end:
        length = _LENGTH.unpack_from(chunk, position)[0] if end - position >= 5 else 0
        if length < 5 or position + length > end:
            raise ValueError("what should be BSON documents is something else")
        yield chunk[position : position + length]
        position += length


def identity(document: bytes) -> bytes:
    """Return type and value of a document's ``_id``, as bytes; ``b""`` if it has none."""
    kind, begin = document[4], 9
    if document[5:9] == _NAME:
        if kind in _FIXED:
            return bytes((kind,)) + document[begin : begin + _FIXED[kind]]
        if kind in (0x02, 0x0D, 0x0E):
            length = 4 + _LENGTH.unpack_from(document, begin)[0]
            return bytes((kind,)) + document[begin : begin + length]
        if kind in (0x03, 0x04):
            length = _LENGTH.unpack_from(document, begin)[0]
            return bytes((kind,)) + document[begin : begin + length]
        if kind == 0x05:
            length = 5 + _LENGTH.unpack_from(document, begin)[0]
            return bytes((kind,)) + document[begin : begin + length]
    decoded = bson.decode(document, CodecOptions(document_class=RawBSONDocument))
    if "_id" not in decoded:
        return b""
    encoded = bson.encode({"_id": decoded["_id"]})
    return encoded[4:5] + encoded[9:-1]


def order(document: bytes) -> tuple[int, Any]:
    """Return what sorts documents as the server's index of ``_id`` does, or nearly.

    It does for texts, numbers, times and object IDs of one collation each; of what else there is
    only equal ones are sure to stand together. For speed only: nothing may depend on it.
    """
    found = identity(document)
    kind = found[0] if found else 0
    if kind in _NUMBERS:
        rank, form = _NUMBERS[kind]
        return rank, form.unpack_from(found, 1)[0]
    # A text has its length in front.
    return kind, found[5:] if kind in _TEXTS else found[1:]


def key(value: object) -> bytes:
    """Return what :func:`identity` says of a document with this ``_id``."""
    return identity(bson.encode({"_id": value}))


def value(identity: bytes) -> object:
    """Return the ``_id`` of the documents that have this :func:`identity`."""
    body = identity[:1] + _NAME + identity[1:] + b"\x00"
    options: CodecOptions[RawBSONDocument] = CodecOptions(
        document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_AUTO
    )
    return bson.decode(_LENGTH.pack(len(body) + 4) + body, options)["_id"]


def put_back(namespace: str, document: bytes) -> dict[str, Any] | None:
    """Return the operation that completes a document after it was written, if it needs one.

    The server puts the present time where a document that is written as a whole has the timestamp
    0, also by ``applyOps``; within a document and by a change of fields it does not.
    """
    if not _ZERO_TIMESTAMP.search(document):
        return None
    zero = bson.Timestamp(0, 0)
    fields = RawBSONDocument(document)
    zeros = [name for name, content in fields.items() if content == zero and name != "_id"]
    if not zeros:
        return None
    change = {"$v": 2, "diff": {"u": dict.fromkeys(zeros, zero)}}
    return {"op": "u", "ns": namespace, "o2": {"_id": fields["_id"]}, "o": change}
