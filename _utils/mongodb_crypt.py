"""
Encryption of a backup's files: only who has the key can read them, and every change is noticed.

A file is cut into chunks, each encrypted by AES-256-GCM under a key of the file's own: HKDF-SHA256
makes that of the backups' key and of 32 random bytes. It begins with a head:

==========  ============================================================
bytes       what
==========  ============================================================
8           ``MAGIC``
8           which of the backups' keys it is (see :func:`identity`)
32          the random bytes
2           length of the name
so many     the name: what the file is, in UTF-8
==========  ============================================================

Then each chunk has 4 bytes, whose highest bit is set at the last one and whose others say how many
bytes follow, and these: what is encrypted and its tag. The nonce is the number of the chunk and
whether it is the last, and the head is authenticated with each. So a chunk that is altered, left
out, repeated, moved or from another file is refused, and so is a file that is cut off, even between
two chunks, one that was made longer, and one in the place of another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from salt.exceptions import CommandExecutionError
from salt.utils.data import traverse_dict_and_list

MAGIC = b"\xe2mdbbk1\n"
KEY_BYTES = 32
CHUNK = 1 << 16
TAG = 16
_HEAD = struct.Struct(">8s8s32sH")
_FRAME = struct.Struct(">I")
_LAST = 1 << 31
#: Where the keys are in the pillar, unless the settings say otherwise.
PLACE = "secrets:mongodb_backup_key"
OLD_PLACE = "secrets:mongodb_backup_old_keys"
REMEDY = "make one with: openssl rand -base64 32"


def identity(key: bytes) -> str:
    """Return what a key is known by, 16 hexadecimal digits, which tells nothing of it."""
    return hmac.digest(key, b"identity of a key of mongodb_backup", hashlib.sha256)[:8].hex()


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    info = b"file of mongodb_backup, AES-256-GCM"
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, info).derive(key))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes((last,))


# One file


class Damaged(OSError):
    """A file is not as it was written."""


class Sealer:
    """Encrypts one file: ``head``, and what the methods return, one behind the other.

    :param name: what the file is; whoever reads it has to name the same.
    """

    def __init__(self, key: bytes, name: str) -> None:
        salt, text = os.urandom(32), name.encode()
        self.head = _HEAD.pack(MAGIC, bytes.fromhex(identity(key)), salt, len(text)) + text
        self._cipher = _cipher(key, salt)
        self._number = 0
        self._rest = bytearray()

    def update(self, data: bytes) -> bytes:
        """Take the next part of the contents."""
        self._rest += data
        whole = []
        # What is left may be the last chunk, which is never told from the others afterwards.
        while len(self._rest) > CHUNK:
            whole.append(self._chunk(bytes(self._rest[:CHUNK])))
            del self._rest[:CHUNK]
        return b"".join(whole)

    def flush(self) -> bytes:
        """Return what was taken and not returned yet, as a chunk of its own."""
        data = bytes(self._rest)
        self._rest.clear()
        return self._chunk(data) if data else b""

    def finish(self) -> bytes:
        """Return the last chunk."""
        return self._chunk(bytes(self._rest), _LAST)

    def _chunk(self, data: bytes, last: int = 0) -> bytes:
        sealed = self._cipher.encrypt(_nonce(self._number, bool(last)), data, self.head)
        self._number += 1
        return _FRAME.pack(len(sealed) | last) + sealed


class Opened(io.RawIOBase):
    """The contents of an encrypted file, of which nothing is given before it is authenticated.

    :param torn: it may still be written, or its writer may have died: it ends before the first
        chunk that is not whole.
    :raises Damaged: it is not as it was written; while it is read.
    """

    def __init__(self, source: BinaryIO, cipher: AESGCM, head: bytes, torn: bool) -> None:
        self._source = source
        self._cipher = cipher
        self._head = head
        self._torn = torn
        self._number = 0
        self._plain = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as a chunk goes; 0 is the end."""
        while not self._plain and not self._ended:
            try:
                self._plain = memoryview(self._next())
            except Damaged:
                if not self._torn:
                    raise
                self._ended = True
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def _next(self) -> bytes:
        frame = self._source.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            raise Damaged(f"it is cut off behind {self._number} chunks")
        size = _FRAME.unpack(frame)[0]
        last, size = bool(size & _LAST), size & ~_LAST
        sealed = self._source.read(size) if TAG <= size <= CHUNK + TAG else b""
        if size <= CHUNK + TAG and len(sealed) < size:
            raise Damaged(f"it is cut off in chunk {self._number + 1}")
        try:
            plain = self._cipher.decrypt(_nonce(self._number, last), sealed, self._head)
        except InvalidTag as err:
            raise Damaged(
                f"its chunk {self._number + 1} is not the one that was written there"
            ) from err
        self._number += 1
        self._ended = last
        if last and self._source.read(1):
            raise Damaged("it goes on behind its end")
        return plain


# Keys


class Keyring:
    """The keys of a minion: one that files are written with, and others that can be read, too.

    :param current: the key to write with; None has files written as they are.
    :param others: older keys.
    :param place: where the keys are looked for, for errors.
    """

    def __init__(self, current: bytes | None, others: Sequence[bytes], place: str) -> None:
        self._current = current
        self._place = place
        keys = [*others, current] if current else others
        self._keys = {identity(key): key for key in keys}

    @property
    def id(self) -> str | None:
        """What the key to write with is known by."""
        return identity(self._current) if self._current else None

    def sealer(self, name: str) -> Sealer | None:
        """Return what encrypts a file of that name, or None without a key."""
        return Sealer(self._current, name) if self._current else None

    def require(self, key: str, what: str) -> bytes:
        """Return the key that is known by ``key``.

        :param what: what it is needed for.
        :raises CommandExecutionError: it is not there.
        """
        if key not in self._keys:
            there = ", ".join(sorted(self._keys)) or "none"
            raise CommandExecutionError(
                f"{what} is encrypted with the key {key}, which this minion does not have"
                f" (it has {there}): put that key into its pillar, {self._place}"
            )
        return self._keys[key]

    def is_encrypted(self, source: BinaryIO) -> bool:
        """Tell whether a file is encrypted, and stay at its beginning."""
        begin = source.read(len(MAGIC))
        source.seek(0)
        return begin == MAGIC

    def open(self, source: BinaryIO, what: str, name: str, torn: bool = False) -> BinaryIO:
        """Return the contents of an encrypted file.

        :param source: the file, at its beginning.
        :param what: its path, for errors.
        :param name: what it has to be.
        :param torn: take a file whose end is missing for one that ends there.
        :raises CommandExecutionError: its key is not there.
        :raises Damaged: it is another file than that; later, when it is not as it was written.
        """
        fixed = source.read(_HEAD.size)
        if not fixed.startswith(MAGIC):
            raise Damaged("it is not encrypted")
        text = b""
        if len(fixed) == _HEAD.size:
            _, key, salt, length = _HEAD.unpack(fixed)
            text = source.read(length)
        if len(fixed) < _HEAD.size or len(text) < length:
            if torn:
                return io.BytesIO()
            raise Damaged("it is cut off in its head")
        cipher = _cipher(self.require(key.hex(), what), salt)
        if text != name.encode():
            raise Damaged(f"it was written as {text.decode(errors='replace')}, and not as {name}")
        return io.BufferedReader(Opened(source, cipher, fixed + text, torn), CHUNK)


def keyring(settings: Mapping[str, Any], pillar: Mapping[str, Any]) -> Keyring:
    """Return the keys that a minion has in its pillar.

    :param settings: ``mongodb_login.settings``.
    :raises CommandExecutionError: what lies there is no key, or there is none at a path that was
        set; nothing of it is told.
    """
    path = settings["backup_key_pillar"] or PLACE
    old_path = settings["backup_old_keys_pillar"] or OLD_PLACE
    current = _look_up(pillar, path)
    if current is None and settings["backup_key_pillar"]:
        raise CommandExecutionError(
            f"pillar has no key at {path}, where mongodb:backup_key_pillar says that one is:"
            f" {REMEDY}"
        )
    old = _look_up(pillar, old_path) or []
    if not isinstance(old, list):
        raise CommandExecutionError(f"pillar {old_path} must be a list of keys")
    return Keyring(
        None if current is None else _key(current, path),
        [_key(each, old_path) for each in old],
        f"at {path} or in the list at {old_path}",
    )


def _key(written: Any, path: str) -> bytes:
    try:
        key = base64.b64decode(written.strip(), validate=True) if isinstance(written, str) else b""
    except (binascii.Error, ValueError):
        # Its words could tell a part of the key.
        key = b""
    if len(key) != KEY_BYTES:
        raise CommandExecutionError(
            f"pillar {path} has something that is no key of {KEY_BYTES} bytes in base64: {REMEDY}"
        )
    return key


def _look_up(pillar: Mapping[str, Any], path: str) -> Any:
    return traverse_dict_and_list(pillar, path, None)
