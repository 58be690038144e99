"""How a badge writes its count: all digits, with something between thousands, or cut short."""

SEPARATORS = frozenset(",.'_ ")
"""What may stand between thousands."""

_UNITS = [(1000**power, prefix) for power, prefix in enumerate("kMGTP", 1)]


def grouped(value: int, separator: str) -> str:
    """Write all digits of a number, with ``separator`` between thousands."""
    return f"{value:,}".replace(",", separator)


def abbreviated(value: int) -> str:
    """Write a number as shields does: 999, 1.2k, 12k, 1.2M.

    One decimal below ten of a unit, unless it is 0; whole units from there on.
    """
    digits = _short(abs(value))
    return digits if value >= 0 else f"-{digits}"


def _short(value: int) -> str:
    if value < 1000:
        return str(value)
    # What is rounded up to a thousand is one of the next.
    limit, prefix = next(unit for unit in _UNITS if _rounded(value, unit[0]) < 1000)
    tenths = _rounded(value * 10, limit)
    if tenths < 100 and tenths % 10:
        return f"{tenths // 10}.{tenths % 10}{prefix}"
    return f"{_rounded(value, limit)}{prefix}"


def _rounded(value: int, limit: int) -> int:
    return (value + limit // 2) // limit
