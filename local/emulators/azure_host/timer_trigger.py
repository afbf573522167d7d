"""Timer triggers: run when the schedule says so, never twice at once, and on demand."""

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
"""What the real host gives as the last run of a timer that never ran."""

log = logging.getLogger("helios.local.azure_host")


class Timer:
    """A timer function with its schedule, in UTC.

    Attributes:
        function: the function.
        expression: its schedule as written, settings filled in.
    """

    def __init__(self, function: Function, invoker: Invoker) -> None:
        """Read the schedule; ``%NAME%`` stands for an application setting, which is an environment variable.

        Raises:
            NotHostable: it can't be read, or the setting does not exist.
        """
        self.function = function
        self._invoker = invoker
        self._last: datetime | None = None
        try:
            self.expression = re.sub(r"%(\w+)%", lambda found: os.environ[found[1]], function.settings["schedule"])
            self._schedule = ncrontab.parsed(self.expression)
            self._schedule.after(datetime.now(UTC))  # a date that never comes is a mistake, too
        except KeyError as error:
            raise NotHostable(f"function {function.name}: its schedule names the setting {error}, not set") from error
        except ValueError as error:
            raise NotHostable(f"function {function.name}: {error}") from error

    async def run(self) -> None:
        """Run on schedule until cancelled. A run that takes longer than the interval makes the next one late."""
        if self.function.settings.get("runOnStartup"):
            await self.invoke(due=datetime.now(UTC))
        due = datetime.now(UTC)
        while True:
            # Not simply after now: a sleep may end a little before its time, and the same run would come again.
            due = self._schedule.after(max(due, datetime.now(UTC)))
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
            await self.invoke(due=due)

    async def invoke(self, *, due: datetime) -> None:
        """Run once. A failure is logged; the schedule goes on."""
        now = datetime.now(UTC)
        status = {"Last": self._last or _NEVER, "Next": self._schedule.after(now), "LastUpdated": now}
        timer = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status,
            "IsPastDue": (now - due).total_seconds() > _PAST_DUE_SECONDS,
        }
        self._last = now
        await self._invoker.invoke(self.function, Datum(msgspec.json.encode(timer).decode(), "json"))
