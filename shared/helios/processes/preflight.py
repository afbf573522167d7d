"""The check before any process is started."""

from collections.abc import Iterable

from helios.errors import ConfigurationError


class CannotStart(ConfigurationError):  # noqa: N818 - reads as the fact it is
    """The services can't be started on this machine; the message has a line for each reason."""


def require(problems: Iterable[str | None]) -> None:
    """Return if there is no problem.

    Raises:
        CannotStart: there are problems.
    """
    if found := [problem for problem in problems if problem]:
        raise CannotStart("\n".join(found))
