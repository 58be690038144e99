"""How many made-up examples a property is tried on."""

import hypothesis
from hypothesis import HealthCheck

DRILL = 20
"""Times as many examples in a drill as in the lanes."""


def examples(number):
    """Return the settings for so many examples in the lanes, and more and other ones in a drill.

    The lanes try the same examples each time (``tests/conftest.py``), so that what they say of a
    commit stays true.
    """
    lanes = hypothesis.settings.get_current_profile_name() == "lanes"
    # What pytest's fixtures hold is made once for all examples, and a busy machine takes its time.
    fine = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return hypothesis.settings(
        max_examples=number if lanes else DRILL * number, suppress_health_check=fine
    )
