"""What is encrypted is read with its key only, and only as it was written; no server is needed."""

import base64
import gzip
import io
import json
import os
import random
import shutil

import bson
import pytest
from salt.exceptions import CommandExecutionError
from salt.utils.secret import hide

from tests.support.loading import load

crypt = load("_utils/mongodb_crypt.py")
files = load("_utils/mongodb_files.py")
login = load("_utils/mongodb_login.py")

KEY, OTHER = (bytes((number,)) * 32 for number in (7, 8))
# Of three chunks, the last of which is not full.
PLAIN = random.Random(1).randbytes(2 * crypt.CHUNK + 1000)
CHUNK = crypt.CHUNK + crypt.TAG + 4


def ring(current=KEY, *others):
    return crypt.Keyring(current, others, "at secrets:key")


def sealed(plain=PLAIN, key=KEY, name="rows", parts=10_000):
    """Return the head of an encrypted file, and what follows."""
    sealer = ring(key).sealer(name)
    body = [sealer.update(plain[at : at + parts]) for at in range(0, len(plain), parts)]
    return sealer.head, b"".join(body) + sealer.finish()


def opened(data, name="rows", keys=None):
    return (keys or ring()).open(io.BytesIO(data), "/x/rows", name).read()


@pytest.mark.parametrize("size", [0, 1, crypt.CHUNK, crypt.CHUNK + 1, 2 * crypt.CHUNK, len(PLAIN)])
@pytest.mark.parametrize("parts", [777, 1 << 20])
def test_what_was_encrypted_comes_back(size, parts):
    head, body = sealed(PLAIN[:size], parts=parts)
    assert opened(head + body) == PLAIN[:size]
    assert size < 100 or PLAIN[:50] not in head + body
    assert ring().is_encrypted(io.BytesIO(head))


def test_the_same_is_never_encrypted_in_the_same_way():
    assert sealed()[1] != sealed()[1]


def chunks(body):
    return [body[:CHUNK], body[CHUNK : 2 * CHUNK], body[2 * CHUNK :]]


def flipped(data, at):
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def spoilt():
    head, body = sealed()
    one, two, three = chunks(body)
    foreign = chunks(sealed()[1])[0]
    # A chunk's own frame that says that it is the last.
    last = bytes((two[0] | 0x80,)) + two[1:]
    yield "cut behind a chunk", head + one + two
    yield "cut within a chunk", head + one + two + three[:-1]
    yield "cut within a frame", head + one + two + three[:3]
    yield "cut in the head", head[:40]
    yield "cut behind the head", head
    yield "ended early", head + one + last
    yield "made longer", head + body + b"x"
    yield "reordered", head + two + one + three
    yield "one left out", head + two + three
    yield "one twice", head + one + one + two + three
    yield "one of another file", head + foreign + two + three
    yield "a bit of the contents", flipped(head + body, len(head) + 1000)
    yield "a bit of a tag", flipped(head + body, len(head) + CHUNK - 1)
    yield "a bit of the last chunk", flipped(head + body, len(head + body) - 1)
    yield "a length", flipped(head + body, len(head) + 2)
    yield "the random bytes", flipped(head + body, 20)
    yield "no head", body


@pytest.mark.parametrize("data", [pytest.param(data, id=what) for what, data in spoilt()])
def test_what_is_not_as_it_was_written_is_refused(data):
    with pytest.raises(
        OSError, match="cut off|its chunk . is not|goes on behind its end|not encrypted"
    ):
        opened(data)


def test_any_single_bit_counts():
    head, body = sealed(b"a small one")
    whole = head + body
    for at in range(len(whole)):
        with pytest.raises((OSError, CommandExecutionError)):
            opened(flipped(whole, at))


def test_nothing_is_given_before_it_is_authenticated():
    head, body = sealed()
    damaged = flipped(head + body, len(head) + CHUNK + 500)
    source = ring().open(io.BytesIO(damaged), "/x/rows", "rows")
    # The first chunk is as it was written, and the second is not.
    assert source.read(crypt.CHUNK) == PLAIN[: crypt.CHUNK]
    with pytest.raises(OSError, match="its chunk 2 is not the one"):
        source.read(1)


def test_a_file_that_is_still_written_is_read_as_far_as_it_is_whole():
    sealer = ring().sealer("rows")
    parts = [sealer.head + sealer.update(b"one") + sealer.flush(), sealer.update(b"two")]
    parts += [sealer.flush(), sealer.flush(), sealer.finish()]
    whole = b"".join(parts)
    assert parts[1] == parts[3] == b""
    seen = set()
    for end in range(len(parts[0]), len(whole) + 1):
        seen.add(ring().open(io.BytesIO(whole[:end]), "/x", "rows", torn=True).read())
        if end < len(whole):
            with pytest.raises(OSError, match="it is cut off"):
                opened(whole[:end])
    assert seen == {b"one", b"onetwo"}
    assert opened(whole) == b"onetwo"


def test_a_file_in_the_place_of_another_is_named():
    head, body = sealed(name="a/rows")
    with pytest.raises(OSError, match="it was written as a/rows, and not as b/rows"):
        opened(head + body, "b/rows")


def test_a_key_that_is_missing_is_told_by_its_id():
    head, body = sealed()
    known = crypt.identity(KEY)
    words = f"/x/rows is encrypted with the key {known}, which .* has {crypt.identity(OTHER)}"
    with pytest.raises(CommandExecutionError, match=words):
        opened(head + body, keys=ring(OTHER))
    with pytest.raises(CommandExecutionError, match="it has none.*at secrets:key"):
        opened(head + body, keys=ring(None))
    assert opened(head + body, keys=ring(OTHER, KEY)) == PLAIN
    assert opened(head + body, keys=ring(None, KEY)) == PLAIN


def test_a_forged_id_does_not_pass_another_key_off():
    head, body = sealed(key=OTHER)
    forged = head[:8] + bytes.fromhex(crypt.identity(KEY)) + head[16:]
    with pytest.raises(OSError, match="its chunk 1 is not the one"):
        opened(forged + body)


# Where the keys come from


def keyring(secrets, **settings):
    pillar = hide({"secrets": secrets, "mongodb": settings})
    return crypt.keyring(login.settings({}, pillar), dict(pillar))


def text(key):
    return base64.b64encode(key).decode()


def test_the_keys_are_those_of_the_pillar():
    assert keyring({}).id is None
    assert keyring({}).sealer("x") is None
    both = {"mongodb_backup_key": f"{text(KEY)}\n", "mongodb_backup_old_keys": [text(OTHER)]}
    found = keyring(both)
    assert found.id == crypt.identity(KEY)
    assert found.require(crypt.identity(OTHER), "x") == OTHER
    assert keyring({"other": text(OTHER)}, backup_key_pillar="secrets:other").id == crypt.identity(
        OTHER
    )


@pytest.mark.parametrize(
    ("secrets", "settings", "words"),
    [
        ({"mongodb_backup_key": "short-s3cret"}, {}, "secrets:mongodb_backup_key has something"),
        ({"mongodb_backup_key": text(KEY[1:])}, {}, "no key of 32 bytes in base64: make one with"),
        ({"mongodb_backup_key": ""}, {}, "no key of 32 bytes"),
        ({"mongodb_backup_key": 12}, {}, "no key of 32 bytes"),
        ({"mongodb_backup_old_keys": text(KEY)}, {}, "mongodb_backup_old_keys must be a list"),
        (
            {"mongodb_backup_old_keys": ["short-s3cret"]},
            {},
            "backup_old_keys has something",
        ),
        ({}, {"backup_key_pillar": "secrets:mine"}, "no key at secrets:mine, where"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(secrets, settings, words):
    with pytest.raises(CommandExecutionError, match=words) as refused:
        keyring(secrets, **settings)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


# A dump


def made(folder, keys):
    """Return the folder of a dump of one collection and an oplog."""
    folder.mkdir(parents=True)
    dump = files.dump(folder, keys)
    metadata = {"options": {}, "indexes": [], "uuid": "", "name": "rows", "type": "collection"}
    dump.metadata({**metadata, "namespace": "shop.rows"})
    rows = b"".join(bson.encode({"_id": n, "text": "plain words"}) for n in range(999))
    for target in (dump.documents("shop.rows"), dump.oplog()):
        with target:
            target.write(rows)
    assert len(b"".join(dump.written("shop.rows"))) > 10_000
    dump.seal({"version": "6.0.5", "set": "rs0", "collections": {"shop.rows": {"hash": "77"}}})
    return folder


def whole(folder, keys):
    """Read all of a backup as restore does."""
    backup = files.backup(folder, keys)
    assert backup.problems() == []
    backup.metadata("shop.rows")
    assert backup.manifest["collections"] == {"shop.rows": {"hash": "77"}}
    return b"".join(backup.documents("shop.rows")), [bytes(e.raw) for e in backup.entries()]


def test_a_dump_with_a_key_is_read_with_it_and_holds_nothing_plain(tmp_path):
    plain, secret = made(tmp_path / "plain", None), made(tmp_path / "secret", ring())
    assert whole(secret, ring()) == whole(plain, None)
    # A plain one is read by who has keys, too.
    assert whole(plain, ring()) == whole(plain, ring(None))
    assert {path.name for path in secret.rglob("*")} == {path.name for path in plain.rglob("*")}
    for path in secret.rglob("*.*"):
        if path.name != files.MANIFEST and path.is_file():
            assert path.read_bytes().startswith(crypt.MAGIC)
            assert b"plain words" not in path.read_bytes()
    seen, _ = files.manifest(secret)
    assert "collections" not in seen
    assert (seen["set"], seen["encrypted"]["key"]) == ("rs0", crypt.identity(KEY))
    assert files.manifest(plain)[0]["format"] != seen["format"]


def test_a_renamed_backup_is_still_the_same(tmp_path):
    folder = made(tmp_path / "one", ring())
    assert whole(shutil.copytree(folder, tmp_path / "two"), ring()) == whole(folder, ring())


def told_again(folder, **changes):
    """Write a manifest anew as who has no key can."""
    manifest, _ = files.manifest(folder)
    manifest.update(changes)
    manifest["checksum"] = files._checksum(manifest)
    (folder / files.MANIFEST).write_text(json.dumps(manifest))


def test_who_has_no_key_can_change_nothing_of_a_manifest(tmp_path):
    one, two = (made(tmp_path / name, ring()) for name in ("one", "two"))
    theirs, _ = files.manifest(two)
    names = ("files", "sealed", "encrypted")
    changes = [{"set": "rs1"}, {"more": 1}, *({name: theirs[name]} for name in names)]
    for number, change in enumerate(changes):
        copy = shutil.copytree(one, tmp_path / str(number))
        told_again(copy)
        assert files.backup(copy, ring())
        told_again(copy, **change)
        with pytest.raises(CommandExecutionError, match="is not what was written with the key"):
            files.backup(copy, ring())


def test_a_file_of_another_backup_or_place_is_refused(tmp_path):
    one, two = (made(tmp_path / name, ring()) for name in ("one", "two"))
    backup = files.backup(one, ring())
    shutil.copy(two / "oplog.bson", one / "oplog.bson")
    with pytest.raises(CommandExecutionError, match="it was written as .*, and not as"):
        list(backup.entries())
    shutil.copy(one / "shop" / "rows.bson.gz", one / "oplog.bson")
    with pytest.raises(CommandExecutionError, match="it was written as .*rows.bson.gz, and not as"):
        list(backup.entries())
    # Nor is one that is not encrypted taken for one that is.
    (one / "oplog.bson").write_bytes(gzip.compress(b""))
    with pytest.raises(CommandExecutionError, match="is not encrypted"):
        list(backup.entries())


def test_the_key_is_asked_for_before_anything_is_read(tmp_path):
    folder = made(tmp_path / "one", ring())
    for keys in (ring(OTHER), ring(None)):
        with pytest.raises(CommandExecutionError, match="one is encrypted with the key"):
            files.backup(folder, keys)


def test_a_plain_copy_is_what_the_dump_would_have_been(tmp_path):
    plain, secret = made(tmp_path / "plain", None), made(tmp_path / "secret", ring())
    copy = tmp_path / "copy"
    copy.mkdir()
    files.copy_plain(files.backup(secret, ring()), copy)
    assert whole(copy, None) == whole(plain, None)
    for path in plain.rglob("*.*"):
        if path.is_file():
            assert (copy / path.relative_to(plain)).read_bytes() == path.read_bytes()


def read(path, keys):
    return files.entries(path, lambda path: files.chunks(path, keys))


def test_a_file_of_the_oplog_is_read_under_its_own_name(tmp_path):
    path = tmp_path / "0001.bson.gz"
    with files.published_oplog(path, ring()) as (target, facts):
        target.write(bson.encode({"_id": 1}))
    assert facts["bytes"] == path.stat().st_size
    assert [dict(entry) for entry in read(path, ring(OTHER, KEY))] == [{"_id": 1}]
    with pytest.raises(CommandExecutionError, match="0001.bson.gz is encrypted with the key"):
        list(read(path, ring(OTHER)))
    path.rename(tmp_path / "0002.bson.gz")
    with pytest.raises(CommandExecutionError, match="was written as 0001.bson.gz, and not as 0002"):
        list(read(tmp_path / "0002.bson.gz", ring()))
    os.truncate(tmp_path / "0002.bson.gz", 99)
    (tmp_path / "0002.bson.gz").rename(path)
    with pytest.raises(CommandExecutionError, match="0001.bson.gz cannot be read: "):
        list(read(path, ring()))
