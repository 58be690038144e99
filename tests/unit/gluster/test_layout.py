"""The way from one layout to another: every step is safe, and the last one ends where it should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from tests.support.loading import load

layout = load("_utils/gluster_layout.py")


def volume(bricks, replica=1, arbiter=0, disperse=0, redundancy=0):
    size = disperse or replica
    return {
        "name": "shared",
        "status": "Started",
        "replica": replica,
        "arbiter": arbiter,
        "disperse": disperse,
        "redundancy": redundancy,
        "bricks": [
            {"name": name, "arbiter": bool(arbiter) and number % size == size - 1}
            for number, name in enumerate(bricks)
        ],
    }


def declared(bricks, replica=1, arbiter=0, disperse=0, redundancy=0):
    return {
        "bricks": list(bricks),
        "replica": replica,
        "arbiter": arbiter,
        "disperse": disperse,
        "redundancy": redundancy,
    }


def after(volume_now, step):
    """Return what glusterd makes of a volume by a step, put together as its sources do it."""
    names = [item["name"] for item in volume_now["bricks"]]
    counts = {key: volume_now[key] for key in ("replica", "arbiter", "disperse", "redundancy")}
    if step["action"] == "add":
        assert not set(step["bricks"]) & set(names)
        names += step["bricks"]
    elif step["action"] == "replace":
        assert step["new"] not in names
        names[names.index(step["old"])] = step["new"]
    elif step["action"] == "raise":
        # add_brick_at_right_order() in glusterd-brick-ops.c
        old, new = counts["replica"], step["replica"]
        for number, name in enumerate(step["bricks"]):
            names.insert(number // (new - old) * old + number + old, name)
        counts.update(replica=new, arbiter=step["arbiter"])
    else:
        assert set(step["bricks"]) <= set(names)
        names = [name for name in names if name not in step["bricks"]]
        if step["action"] == "lower":
            counts.update(replica=step["replica"], arbiter=0)
    return volume(names, **counts)


def shape(names, counts):
    """Return a layout as what it is: sets of full copies, each with its arbiter."""
    size = counts["disperse"] or counts["replica"]
    groups = [list(names)[start : start + size] for start in range(0, len(names), size)]
    full = size - counts["arbiter"]
    return counts["replica"], {(frozenset(group[:full]), tuple(group[full:])) for group in groups}


def shape_of(volume_now):
    return shape([item["name"] for item in volume_now["bricks"]], volume_now)


@pytest.mark.parametrize(
    ("is_now", "wanted", "expected"),
    [
        (("abc", 3), ("abc", 3), []),
        (("abc", 3), ("cab", 3), []),
        (("abcdef", 3), ("defcba", 3), []),
        (("abc", 3, 1), ("bac", 3, 1), []),
        (("a", 1), ("ab", 2), [("raise", "b", 2, 0)]),
        (("a", 1), ("cab", 3), [("raise", "cb", 3, 0)]),
        (("ab", 2), ("abc", 3), [("raise", "c", 3, 0)]),
        (("ab", 2), ("abc", 3, 1), [("raise", "c", 3, 1)]),
        (("a", 1), ("abc", 3, 1), [("raise", "bc", 3, 1)]),
        (("abcd", 2), ("cdfabe", 3), [("raise", "ef", 3, 0)]),
        (("ab", 1), ("acdbef", 3), [("raise", "cdef", 3, 0)]),
        (("abc", 3), ("ab", 2), [("lower", "c", 2)]),
        (("abc", 3), ("c", 1), [("lower", "ab", 1)]),
        (("abc", 3, 1), ("ab", 2), [("lower", "c", 2)]),
        (("abc", 3, 1), ("b", 1), [("lower", "ac", 1)]),
        (("abcdef", 3), ("deab", 2), [("lower", "cf", 2)]),
        (("abc", 3), ("abcdef", 3), [("add", "def")]),
        (("a", 1), ("ab", 1), [("add", "b")]),
        (("abcdef", 3), ("abc", 3), [("remove", "def")]),
        (("abc", 3), ("def", 3), [("add", "def"), ("remove", "abc")]),
        (("a", 1), ("b", 1), [("add", "b"), ("remove", "a")]),
        (("abc", 3), ("dbc", 3), [("replace", "a", "d")]),
        (("abc", 3, 1), ("abd", 3, 1), [("replace", "c", "d")]),
        (("abcdef", 3), ("abxyef", 3), [("replace", "c", "x"), ("replace", "d", "y")]),
        (("abc", 1, 0, 3, 1), ("abx", 1, 0, 3, 1), [("replace", "c", "x")]),
        (("abc", 1, 0, 3, 1), ("abcdef", 1, 0, 3, 1), [("add", "def")]),
    ],
)
def test_steps(is_now, wanted, expected):
    found = layout.steps(volume(*is_now), declared(*wanted), remove=True)
    keys = {
        "raise": ("bricks", "replica", "arbiter"),
        "lower": ("bricks", "replica"),
        "replace": ("old", "new"),
        "add": ("bricks",),
        "remove": ("bricks",),
    }
    told = [
        (step["action"], *(step[key] for key in keys[step["action"]]))
        for step in found
        if set(step) == {"action", *keys[step["action"]]}
    ]
    assert [
        tuple("".join(part) if isinstance(part, list) else part for part in step) for step in told
    ] == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("is_now", "wanted", "words"),
    [
        (("abc", 3), ("abc", 1, 0, 3, 1), "its disperse count is 0, not 3, for good"),
        (("abcde", 1, 0, 5, 2), ("abcde", 1, 0, 5, 1), "its redundancy count is 2, not 1"),
        (("abcdef", 3), ("abdcef", 3), "put into sets in another way: a, b, c; d, e, f"),
        (("ab", 1), ("ab", 2), "put into sets in another way: a; b"),
        (("ab", 2), ("ab", 1), "put into sets in another way: a, b"),
        (("abc", 3, 1), ("abc", 3), "c is an arbiter, which cannot become a full copy"),
        (("abc", 3), ("abc", 3, 1), "c is a full copy, which cannot become an arbiter"),
        (("abc", 3, 1), ("acb", 3, 1), "cannot become"),
        (("ab", 2), ("acb", 3, 1), "b is a full copy, which cannot become an arbiter"),
        (("abc", 3, 1), ("ac", 2), "c is an arbiter, which cannot become a full copy"),
        (("abc", 3), ("abd", 3, 1), "lower the replica count to 2 first, then raise it"),
        (("abc", 3, 1), ("abd", 3), "lower the replica count to 2 first, then raise it"),
        (("abc", 3, 1), ("abde", 4), "lower the replica count to 2 first"),
        (("abc", 3), ("ade", 3), "replace one, then the next"),
        (("abc", 3), ("ad", 2), "its replica count is 3, not 2, and its bricks differ too"),
        (("ab", 2), ("acd", 3), "its replica count is 2, not 3, and its bricks differ too"),
        (("ab", 2), ("cde", 3), "its replica count is 2, not 3, and its bricks differ too"),
        (("ab", 2), ("abcdef", 3), "declare one of the changes, then the other"),
        (("abcdef", 3), ("abx", 3), "declare one of the changes, then the other"),
    ],
)
def test_what_is_not_safe_is_refused_with_the_reason(is_now, wanted, words):
    with pytest.raises(CommandExecutionError) as raised:
        layout.steps(volume(*is_now), declared(*wanted), remove=True)
    assert "volume shared is left as it is: " in str(raised.value)
    assert words in str(raised.value)


def test_sets_are_taken_out_only_when_asked():
    with pytest.raises(CommandExecutionError, match="also has c, d: say remove_bricks: True"):
        layout.steps(volume("abcd", 2), declared("ab", 2))


_COUNTS = [
    (1, 0, 0, 0),
    (2, 0, 0, 0),
    (3, 0, 0, 0),
    (3, 1, 0, 0),
    (4, 0, 0, 0),
    (1, 0, 3, 1),
    (1, 0, 6, 2),
]


@st.composite
def layouts(draw, pool="abcdefghijklmnopqr"):
    counts = draw(st.sampled_from(_COUNTS))
    names = draw(st.permutations(pool))
    size = counts[2] or counts[0]
    return names[: size * draw(st.integers(1, 3))], *counts


@st.composite
def near_layouts(draw):
    """Two layouts of which the second has much in common with the first."""
    bricks, *counts = draw(layouts())
    size = counts[2] or counts[0]
    sets = [list(bricks[start : start + size]) for start in range(0, len(bricks), size)]
    fresh = list("ABCDEFGHIJKLMNOPQRSTUVWX")
    replica, arbiter = counts[0], counts[1]
    kind = draw(st.sampled_from(["raise", "lower", "swap", "sets"]))
    if kind == "raise" and not counts[2] and not arbiter:
        replica += draw(st.integers(1, 2))
        arbiter = int(replica == 3 and draw(st.booleans()))
        sets = [names + [fresh.pop() for _ in range(replica - size)] for names in sets]
    elif kind == "lower" and replica > 1:
        replica = draw(st.integers(1, replica - 1))
        sets = [draw(st.permutations(names[: size - arbiter]))[:replica] for names in sets]
        arbiter = 0
    elif kind == "swap":
        for names in sets:
            if draw(st.booleans()):
                names[draw(st.integers(0, size - 1))] = fresh.pop()
    else:
        sets = sets[: draw(st.integers(0, len(sets)))]
        for _ in range(draw(st.integers(0 if sets else 1, 2))):
            sets.append([fresh.pop() for _ in range(size)])
    sets = draw(st.permutations(sets))
    wanted = [name for names in sets for name in names]
    return (bricks, *counts), (wanted, replica, arbiter, *counts[2:])


@given(st.one_of(near_layouts(), st.tuples(layouts(), layouts())))
def test_the_steps_lead_to_the_declared_layout_and_never_below_either(pair):
    before, wanted = volume(*pair[0]), declared(*pair[1])
    try:
        steps = layout.steps(before, wanted, remove=True)
    except CommandExecutionError:
        assert shape_of(before) != shape(wanted["bricks"], wanted)
        return
    least = min(before["replica"] - before["arbiter"], wanted["replica"] - wanted["arbiter"])
    now = before
    while steps:
        step = steps.pop(0)
        old_arbiters = {item["name"] for item in now["bricks"] if item["arbiter"]}
        now = after(now, step)
        arbiters = {item["name"] for item in now["bricks"] if item["arbiter"]}
        names = {item["name"] for item in now["bricks"]}
        assert old_arbiters & names <= arbiters, "an arbiter became a full copy"
        for group in layout.replica_sets(now):
            # What is new has to be healed first: it is no good copy yet.
            kept = set(group) - arbiters - {step.get("new")}
            assert len(kept) >= (least if step["action"] != "replace" else max(least - 1, 1))
        assert layout.steps(now, wanted, remove=True) == steps, "does not go on from here"
    assert shape_of(now) == shape(wanted["bricks"], wanted)


@given(near_layouts())
def test_one_change_within_the_sets_or_of_their_number_is_never_refused(pair):
    before, wanted = volume(*pair[0]), declared(*pair[1])
    try:
        refusal = ""
        layout.steps(before, wanted, remove=True)
    except CommandExecutionError as error:
        refusal = str(error)
    # An arbiter may be in the way of the other changes that the strategy makes.
    assert not refusal or before["arbiter"] or wanted["arbiter"], refusal


def state(volume_now, offline=()):
    return {
        "bricks": [
            {"name": item["name"], "online": item["name"] not in offline}
            for item in volume_now["bricks"]
        ]
    }


def healing(volume_now, **counts):
    return [
        {
            "name": item["name"],
            "connected": counts.get(item["name"]) is not None or item["name"] not in counts,
            "reason": "gone",
            "total": sum(counts.get(item["name"], (0, 0)) or (0, 0)),
            "split_brain": (counts.get(item["name"], (0, 0)) or (0, 0))[1],
        }
        for item in volume_now["bricks"]
    ]


@pytest.mark.parametrize(
    ("replica", "arbiter", "offline", "counts", "dropped", "reasons"),
    [
        (3, 0, "", {}, "", []),
        (3, 0, "", {}, "c", []),
        (3, 0, "c", {}, "c", []),
        (3, 0, "c", {"a": (4, 0), "b": (4, 0), "c": None}, "c", []),
        (3, 0, "b", {}, "c", ["brick b is offline"]),
        (3, 0, "c", {}, "", ["brick c is offline"]),
        (3, 0, "", {"a": (4, 0)}, "c", ["4 entries wait to be healed on a"]),
        (3, 0, "", {"a": (4, 0)}, "", ["4 entries wait to be healed on a"]),
        (3, 0, "c", {"a": (0, 2), "c": None}, "c", ["2 entries in split-brain on a"]),
        (3, 0, "c", {"a": (1, 0), "c": None}, "bc", ["1 entries wait to be healed on a"]),
        (3, 0, "", {"b": None}, "c", ["heal state of b is unknown: gone"]),
        (3, 1, "", {}, "ab", ["a, b hold the only full copies of their set"]),
        (1, 0, "", {}, "b", ["b hold the only full copies of their set"]),
    ],
)
def test_what_is_in_the_way_of_taking_bricks_out(
    replica, arbiter, offline, counts, dropped, reasons
):
    now = volume("abc", replica, arbiter)
    assert layout.hindrances(now, state(now, offline), healing(now, **counts), dropped) == reasons


def test_nothing_is_taken_out_of_a_volume_that_is_not_started():
    now = {**volume("abc", 3), "status": "Stopped"}
    assert layout.hindrances(now, None, [], "c") == ["volume shared is Stopped, not Started"]


def test_another_set_that_waits_to_be_healed_is_in_the_way_too():
    now = volume("abcdef", 3)
    found = layout.hindrances(now, state(now, "c"), healing(now, d=(1, 0)), "c")
    assert found == ["1 entries wait to be healed on d"]


def test_steps_in_words():
    steps = layout.steps(volume("ab", 2), declared("abc", 3))
    assert [layout.words(step) for step in steps] == ["raise the replica count to 3, with c"]
    steps = layout.steps(volume("abc", 3), declared("ac", 2))
    assert [layout.words(step) for step in steps] == ["lower the replica count to 2, without b"]
    steps = layout.steps(volume("abc", 3), declared("abd", 3))
    assert [layout.words(step) for step in steps] == ["replace c by d"]
    steps = layout.steps(volume("ab", 2), declared("cd", 2), remove=True)
    assert [layout.words(step) for step in steps] == ["add c, d", "remove a, b"]


def test_a_rebalance_is_marked_by_its_task_and_the_number_of_sets():
    marks = {
        layout.rebalance_mark(volume(bricks, 2), task)
        for bricks, task in (("ab", "1"), ("abcd", "1"), ("abcd", "2"), ("cdab", "2"))
    }
    assert len(marks) == 3
