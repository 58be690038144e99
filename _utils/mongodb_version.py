"""What is known of versions of mongod: which a fleet should not run, and what each may become."""

from collections.abc import Iterable

#: The series that follow each other, as MongoDB's manual has its upgrades: none can be left out.
#: Those in between (5.1, 7.3) are no releases for machines of one's own; 8.2 is a minor one of 8.
SERIES = ((4, 4), (5, 0), (6, 0), (7, 0), (8, 0))
#: From this series on mongod ends with "illegal instruction" on x86_64 without AVX: the manual's
#: production notes.
AVX_SINCE = (5, 0)
#: The first series that MongoDB's repository has for an OS (by ``os`` or ``os_family`` and the
#: beginning of ``osrelease``): the manual's table of platforms.
FIRST_OF_OS = {
    ("Debian", "12"): (7, 0),
    ("Ubuntu", "22.04"): (6, 0),
    ("Ubuntu", "24.04"): (8, 0),
    ("RedHat", "9"): (6, 0),
}

#: The first version of each series in which CVE-2025-14847 is repaired. Until there, a stranger who
#: may speak zlib with the server reads its memory. The figures are those of MongoDB's SERVER-115508
#: and of the CVE; series that are not here and are older were never repaired.
REPAIRED = {
    (4, 4): (4, 4, 30),
    (5, 0): (5, 0, 32),
    (6, 0): (6, 0, 27),
    (7, 0): (7, 0, 28),
    (8, 0): (8, 0, 17),
    (8, 2): (8, 2, 3),
}


def repaired_in(version: str) -> str | None:
    """
    Return in which version CVE-2025-14847 is repaired for who runs this one; None if it is in it.

    version
        The version of a mongod, e.g. ``6.0.5``; what comes behind a third number (``-rc0``) is
        not looked at.

    A version of a series that was never repaired has to go to the next that was: from 4.2 to
    4.4.30, from 8.1 to 8.2.3. Raises ``ValueError`` for what is no version.
    """
    numbers = version.split("-")[0].split(".")
    if len(numbers) < 3 or not all(number.isdecimal() for number in numbers[:3]):
        raise ValueError(f"{version!r} is no version of mongod: it must begin like 7.0.28")
    major, minor, patch = (int(number) for number in numbers[:3])
    for series, repaired in sorted(REPAIRED.items()):
        if (major, minor) <= series:
            return ".".join(map(str, repaired)) if (major, minor, patch) < repaired else None
    return None


def series(version: str) -> tuple[int, int]:
    """Return major and minor number of a version or series; ``ValueError`` for what is neither."""
    numbers = version.split("-")[0].split(".")
    if len(numbers) < 2 or not all(number.isdecimal() for number in numbers[:2]):
        raise ValueError(f"{version!r} is no version of mongod: it must begin like 7.0")
    return int(numbers[0]), int(numbers[1])


def before(numbers: tuple[int, int]) -> tuple[int, int] | None:
    """Return the series before one, which its programs can go by as well; None before the first."""
    if numbers not in SERIES:
        return (numbers[0], 0) if (numbers[0], 0) in SERIES else None
    place = SERIES.index(numbers)
    return SERIES[place - 1] if place else None


def change_problem(runs: str, wanted: str, compatibility: str | None) -> str | None:
    """
    Return why a member cannot go from one version to another, or None when it can.

    runs, wanted
        Versions, of which the series count.
    compatibility
        Feature compatibility of the set (``6.0``), or None where it is not known.

    Raises ``ValueError`` for what is no version.
    """
    now, then = series(runs), series(wanted)
    if now == then:
        return None
    path = _path(now, then)
    if path is None:
        return (
            f"from {_text(now)} to {_text(then)} no way is known: the series are "
            f"{', '.join(map(_text, SERIES))}"
        )
    if len(path) > 1:
        return (
            f"no series can be left out from {_text(now)} to {_text(then)}: go to "
            f"{_text(path[0])} first"
        )
    needed = now if then > now else then
    if compatibility is not None and series(compatibility) != needed:
        return (
            f"the set's feature compatibility is {compatibility}, and for the way from "
            f"{_text(now)} to {_text(then)} it must be {_text(needed)}: `salt db-1 "
            f"mongodb.set_feature_compatibility {_text(needed)} confirm={_text(needed)}`"
        )
    return None


def platform_problems(
    wanted: str, os: str, family: str, release: str, machine: str, flags: Iterable[str], repo: bool
) -> list[str]:
    """
    Return why a version cannot run on a node, or cannot be had for it.

    os, family, release, machine, flags
        The grains ``os``, ``os_family``, ``osrelease``, ``cpuarch`` and ``cpu_flags`` of the node;
        no flags are taken for flags that are not known.
    repo
        Whether it comes from MongoDB's repository, whose packages are made for an OS.

    Raises ``ValueError`` for what is no version.
    """
    found, known = [], set(flags)
    if series(wanted) >= AVX_SINCE and machine == "x86_64" and known and "avx" not in known:
        found.append(
            f"mongod {wanted} wants a processor with AVX, and this one has none: give a virtual "
            "machine its host's processor, or take another machine"
        )
    if repo:
        for (name, begin), first in FIRST_OF_OS.items():
            its = name in (os, family) and f"{release}.".startswith(f"{begin}.")
            if its and series(wanted) < first:
                found.append(
                    f"MongoDB's repository has no {_text(series(wanted))} for {os} {release}: "
                    f"take {_text(first)} or newer"
                )
    return found


def _path(now: tuple[int, int], then: tuple[int, int]) -> list[tuple[int, int]] | None:
    """Return the series to go through, the last one included; None where none is known."""
    # A minor one, as 8.2, is gone to from its major one.
    places = [(each[0], 0) if each not in SERIES else each for each in (now, then)]
    if any(place not in SERIES for place in places):
        return None
    first, last = (SERIES.index(place) for place in places)
    if first == last:
        return [then]
    step = 1 if last > first else -1
    return [*SERIES[first + step : last : step], then]


def _text(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))
