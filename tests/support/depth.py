"""The number of examples of a property test: few in ``make test``, many in ``make test-long``."""

from hypothesis import HealthCheck, settings

QUICK, LONG = "helios", "long"
"""The profiles of Hypothesis; ``--hypothesis-profile=long`` chooses the second."""


def register() -> None:
    """Register both profiles, and select the quick one."""
    # A slow example must not fail a test, because the machine may be busy. `make bench` measures time.
    common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile(QUICK, common)
    settings.register_profile(LONG, common, max_examples=1000)
    settings.load_profile(QUICK)


def examples(quick: int, *, long: int) -> int:
    """The number of examples for the selected profile. Called when a test module is imported."""
    return long if settings.get_current_profile_name() == LONG else quick
