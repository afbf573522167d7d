"""The stages of a release: a part of the calls, then all of them, and back if something fires meanwhile."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from scripts.deploy.plan import StepFailed

SHARE: Final = 0.1
"""The part of the calls that the new version gets first."""
MINUTES: Final = 5
"""How long each stage lasts: an alarm on a function's errors needs two bad minutes."""

_POLL_SECONDS: Final = 10.0

Versions = Mapping[str, str]
"""A version by the name of the function."""


class StagedRelease(ABC):
    """The release of the functions of one cloud; a subclass knows how the cloud divides calls.

    Args:
        wait: sleeps between two looks at what fires.
    """

    def __init__(self, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._wait = wait

    @abstractmethod
    def live(self, names: Sequence[str]) -> dict[str, str]:
        """The released version of each function."""

    @abstractmethod
    def previous(self, names: Sequence[str]) -> dict[str, str]:
        """The version before the released one, of the functions that have one."""

    @abstractmethod
    def firing(self, changed: Versions) -> list[str]:
        """What is wrong with the deployment, or with these versions, now: a few words for each."""

    @abstractmethod
    def _route(self, function: str, version: str, share: float = 0.0, of: str = "") -> None:
        """Give all calls of a function to a version, or all but the ``share`` of another one."""

    def _finish(self, function: str) -> None:  # noqa: B027 - a cloud that removes old versions itself needs no other
        """Remove what a released function no longer needs."""

    def run(self, newest: Versions, *, minutes: float = MINUTES) -> None:
        """Give the calls of each function to this version: first a part of them, then all.

        Args:
            newest: the version of each function.
            minutes: how long each stage lasts; 0 moves all calls at once, and looks at nothing that fires.

        Raises:
            StepFailed: something fired. Every function runs the version that it ran before.
        """
        released = self.live(list(newest))
        changed = {name: version for name, version in newest.items() if released[name] != version}
        if not changed:
            sys.stdout.write("      every function runs its newest version\n")
            return
        if minutes and (firing := self.firing({})):
            raise StepFailed(f"nothing was released: {', '.join(firing)} fires already. Mend that first, or use --now")
        try:
            if minutes:
                for name, version in changed.items():
                    self._route(name, released[name], SHARE, version)
                self._watch(changed, minutes, f"{SHARE:.0%} of the calls")
            for name, version in changed.items():
                self._route(name, version)
            if minutes:
                self._watch(changed, minutes, "all calls")
        except BaseException:
            for name in changed:
                self._route(name, released[name])
            sys.stdout.write("      rolled back: every function runs the version that it ran before\n")
            raise
        for name in changed:
            self._finish(name)

    def _watch(self, changed: Versions, minutes: float, share: str) -> None:
        sys.stdout.write(f"      the new version gets {share}; watching the alarms for {minutes:g} minutes\n")
        sys.stdout.flush()
        for _ in range(max(1, round(minutes * 60 / _POLL_SECONDS))):
            self._wait(_POLL_SECONDS)
            if firing := self.firing(changed):
                raise StepFailed(f"the new version was not released: {', '.join(firing)} fired")
