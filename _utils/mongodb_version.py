"""What is known of versions of mongod that a fleet should not run as they are."""

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
