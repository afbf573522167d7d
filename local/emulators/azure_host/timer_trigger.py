"""Timer triggers: run on schedule, never twice at once, and on demand."""

import asyncio
import logging
import os
import re
from datetime import UTC, datetime

import msgspec
from azure.functions.meta import Datum

from local.emulators.azure_host import ncrontab
from local.emulators.azure_host.errors import NotHostable
from local.emulators.azure_host.function_app import Function
from local.emulators.azure_host.invocation import Invoker

_PAST_DUE_SECONDS = 1.0
_NEVER = datetime.min.replace(tzinfo=UTC)
"""The real host's value for the last run of a timer that has never run."""

log = logging.getLogger("helios.local.azure_host")


class Timer:
    """A timer function with its schedule, in UTC.

    Attributes:
        function: the function.
        expression: the text of its schedule, with application settings substituted.
    """

    def __init__(self, function: Function, invoker: Invoker) -> None:
        """Read the schedule; ``%NAME%`` refers to an application setting, which is an environment variable.

        Raises:
            NotHostable: the schedule is invalid, or the setting does not exist.
        """
        self.function = function
        self._invoker = invoker
        self._last: datetime | None = None
        try:
            self.expression = re.sub(r"%(\w+)%", lambda match: os.environ[match[1]], function.settings["schedule"])
            self._schedule = ncrontab.parse(self.expression)
            self._schedule.after(datetime.now(UTC))  # a date that never occurs is an error, too
        except KeyError as error:
            raise NotHostable(
                f"function {function.name}: its schedule uses the setting {error}, which is not set"
            ) from error
        except ValueError as error:
            raise NotHostable(f"function {function.name}: {error}") from error

    async def run(self) -> None:
        """Run on schedule until cancelled. A run that takes longer than the interval delays the next one."""
        if self.function.settings.get("runOnStartup"):
            await self.invoke(due=datetime.now(UTC))
        due = datetime.now(UTC)
        while True:
            # Not simply after now: a sleep may end slightly early, and the same run would start twice.
            due = self._schedule.after(max(due, datetime.now(UTC)))
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
            await self.invoke(due=due)

    async def invoke(self, *, due: datetime) -> None:
        """Run once. A failure is logged, and the schedule continues."""
        now = datetime.now(UTC)
        status = {"Last": self._last or _NEVER, "Next": self._schedule.after(now), "LastUpdated": now}
        timer = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status,
            "IsPastDue": (now - due).total_seconds() > _PAST_DUE_SECONDS,
        }
        self._last = now
        await self._invoker.invoke(self.function, Datum(msgspec.json.encode(timer).decode(), "json"))
