"""What ``volume heal`` says in words, and what a brick's directory is to its volume."""

import pathlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

gluster = load("_utils/gluster.py")
heal = load("_utils/gluster_heal.py")
node = load("_utils/gluster_node.py")
ANSWERS = pathlib.Path(__file__).parent / "answers"


@pytest.fixture
def words(version):
    """Return what a command without XML printed, as it was recorded."""
    return lambda name: (ANSWERS / version / f"{name}.txt").read_text(encoding="utf-8")


def test_files_are_read_from_words_whatever_their_names(words):
    bricks = heal.entries(words("heal_info_odd"))
    assert list(bricks) == [f"db-{number}:/srv/gluster/odd/brick" for number in (1, 2, 3)]
    assert bricks["db-3:/srv/gluster/odd/brick"] == []
    first = {entry["path"]: entry for entry in bricks["db-1:/srv/gluster/odd/brick"]}
    for path in ("/", "/two\nlines", "/<&> é", "/plain", "/not \ufffd utf-8", "/tab-\t"):
        assert first[path] == {"gfid": None, "path": path, "split_brain": False}


def test_files_in_split_brain_are_told_in_words(words):
    left, right = heal.entries(words("split_info")).values()
    assert {entry["split_brain"] for entry in left + right} == {True}
    assert "/folder/odd <a> & b" in {entry["path"] for entry in right}
    gfids = [entry for entry in left + right if entry["gfid"]]
    for entry in gfids:
        assert entry["path"] == f"<gfid:{entry['gfid']}>"


def test_a_file_that_is_being_healed_is_told_apart_from_its_state():
    text = "Brick a:/b\n/x y - Possibly undergoing heal\n/z \nStatus: Connected\n"
    assert [entry["path"] for entry in heal.entries(text)["a:/b"]] == ["/x y", "/z"]


def test_what_was_resolved_and_what_was_not(words):
    assert heal.resolved(words("split_resolved")) == {"healed": ["/folder/one"], "failed": {}}
    none = heal.resolved(words("split_same_time"))
    assert none == {"healed": [], "failed": {"/folder/two": "No difference in mtime"}}
    whole = heal.resolved(words("split_source"))
    assert len(whole["healed"]) == 2
    assert all(heal.target(name) == name for name in whole["healed"])
    assert heal.resolved(words("split_nothing")) == {"healed": [], "failed": {}}


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a b", "/a b"),
        ("/", "/"),
        (
            "<gfid:7c2db72d-d2e0-49dc-a647-dd87dcea0b04>",
            "gfid:7c2db72d-d2e0-49dc-a647-dd87dcea0b04",
        ),
        ("gfid:7c2db72d-d2e0-49dc-a647-dd87dcea0b04", "gfid:7c2db72d-d2e0-49dc-a647-dd87dcea0b04"),
        ("7c2db72d-d2e0-49dc-a647-dd87dcea0b04", "gfid:7c2db72d-d2e0-49dc-a647-dd87dcea0b04"),
        ("a", None),
        ("gfid:7", None),
        (3, None),
    ],
)
def test_a_file_is_named_by_path_or_gfid(path, target):
    assert heal.target(path) == target


def test_what_is_left_is_told_for_each_brick():
    clean = {"name": "a:/b", "connected": True, "reason": None, "total": 0, "split_brain": 0}
    bricks = [
        clean,
        {**clean, "name": "b:/b", "total": 3, "split_brain": 1},
        {**clean, "name": "c:/b", "connected": False, "reason": "gone", "total": None},
    ]
    assert heal.left([clean]) == []
    assert heal.left(bricks) == [
        "3 entries on b:/b, 1 of them in split-brain",
        "c:/b cannot be asked (gone)",
    ]


def test_without_xml_the_exit_code_tells_and_the_words_are_kept():
    said = {"retcode": 0, "stdout": "Launching ... successful", "stderr": ""}
    assert gluster.said(["volume"], said) == "Launching ... successful"
    refused = {"retcode": 1, "stdout": "", "stderr": "Launching ...:\nVolume x does not exist"}
    with pytest.raises(CommandExecutionError, match=r"Volume x does not exist \(1\)") as raised:
        gluster.said(["volume", "heal", "x"], refused)
    assert raised.value.answered
    assert not gluster.locked(raised.value)
    for stderr, retcode in (("Connection failed. Please check", 1), ("missing", 127)):
        with pytest.raises(CommandExecutionError) as raised:
            gluster.said(["volume"], {"retcode": retcode, "stdout": "", "stderr": stderr})
        assert not raised.value.answered
    busy = {"retcode": 1, "stdout": "", "stderr": "Another transaction is in progress for x."}
    with pytest.raises(CommandExecutionError) as raised:
        gluster.said(["volume"], busy)
    assert gluster.locked(raised.value)


ID = "2478c9ce-cf77-4805-bba3-2c233444b905"


@pytest.mark.parametrize(
    ("xattr", "names", "lost", "reason"),
    [
        (None, None, True, "its directory is missing"),
        (None, [], True, "its directory is empty"),
        (None, ["lost+found"], True, "its directory is empty"),
        (None, ["b", "a"], None, "its directory is no brick but holds a, b"),
        (uuid.UUID(ID).bytes, [".glusterfs"], False, "it is there"),
        (uuid.UUID(ID).bytes, [], True, "its directory is empty but for the volume's mark"),
        (uuid.UUID(int=1).bytes, [], None, f"belongs to another volume ({uuid.UUID(int=1)})"),
        (b"odd", [], None, "belongs to another volume (6f6464)"),
    ],
)
def test_a_brick_is_lost_only_if_nothing_is_there(xattr, names, lost, reason):
    told = node.brick_state(ID, xattr, names)
    assert told[0] is lost
    assert told[1].endswith(reason)


def test_only_the_uuid_of_glusterd_changes():
    text = "UUID=dbb1628c-2555-4752-87ff-b9864dfe6669\noperating-version=100000\n"
    assert node.with_uuid(text, ID) == f"UUID={ID}\noperating-version=100000\n"
    assert node.with_uuid("operating-version=1\n", ID) == f"UUID={ID}\noperating-version=1\n"
    assert node.with_uuid(node.with_uuid(text, ID), ID) == node.with_uuid(text, ID)


def test_a_peer_is_written_as_glusterd_writes_it(version):
    recorded = (ANSWERS / version / "peer_file.txt").read_text(encoding="utf-8")
    member = recorded.splitlines()[0].removeprefix("uuid=")
    assert node.peer_file(member, ["db-2"]) == recorded


def test_a_node_tells_its_uuid(parsed):
    assert uuid.UUID(node.own_uuid(parsed("uuid_get")))


@given(
    st.text(
        st.characters(
            exclude_categories=["Cs"],
            exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\n\0/",
        ),
        min_size=1,
    )
)
def test_any_name_without_a_line_break_comes_back(name):
    text = f"Brick a:/b\n/{name} \nStatus: Connected\nNumber of entries: 1\n"
    (entry,) = heal.entries(text)["a:/b"]
    assert entry["path"] == f"/{name}" or " - " in f"/{name}"
