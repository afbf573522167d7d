"""How many examples a property is tried with: few in ``make test``, many in ``make test-long``."""

from hypothesis import HealthCheck, settings

QUICK, LONG = "helios", "long"
"""The profiles of Hypothesis; ``--hypothesis-profile=long`` chooses the second."""


def register() -> None:
    """Make both profiles known, and choose the quick one."""
    # A busy machine is no reason to fail: time is measured by `make bench`, not here.
    common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile(QUICK, common)
    settings.register_profile(LONG, common, max_examples=1000)
    settings.load_profile(QUICK)


def examples(quick: int, *, long: int) -> int:
    """The number for the profile in force. Read when a test module is imported."""
    return long if settings.get_current_profile_name() == LONG else quick
