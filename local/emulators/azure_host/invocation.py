"""Call a function with a value through azure-functions' own converters, as the real worker does."""

import asyncio
import inspect
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import azure.functions as func
from azure.functions.meta import Datum

from local.emulators.azure_host.converters import converter
from local.emulators.azure_host.function_app import Function

THREADS_VARIABLE = "PYTHON_THREADPOOL_THREAD_COUNT"
"""The real worker's setting: how many synchronous functions run at a time."""
_MOST_THREADS = 1000

log = logging.getLogger("helios.local.azure_host")


class Result(NamedTuple):
    """The result of an invocation.

    Attributes:
        value: the return value of the function; None when it failed.
        error: the exception that it raised.
    """

    value: Any = None
    error: Exception | None = None


class _Context(func.Context):
    """The invocation's context, for a function with a parameter ``context``."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._id = str(uuid.uuid4())
        self._local = threading.local()

    @property
    def invocation_id(self) -> str:
        return self._id

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def function_name(self) -> str:
        return self._function.name

    @property
    def function_directory(self) -> str:
        return str(self._function.folder)

    @property
    def trace_context(self) -> Any:
        return None

    @property
    def retry_context(self) -> Any:
        return None


class Invoker:
    """Runs functions: synchronous ones in a pool of threads, asynchronous ones in the event loop."""

    def __init__(self) -> None:
        """Create the pool with the size in ``PYTHON_THREADPOOL_THREAD_COUNT``.

        Raises:
            ValueError: the setting is not a number from 1 to 1000.
        """
        size = os.environ.get(THREADS_VARIABLE)
        if size and not (size.isdigit() and 1 <= int(size) <= _MOST_THREADS):
            raise ValueError(f"{THREADS_VARIABLE} is {size!r}. Set it to a number from 1 to {_MOST_THREADS}.")
        self._pool = ThreadPoolExecutor(int(size) if size else None, thread_name_prefix="function")

    def close(self) -> None:
        """Wait for running invocations, and start no more."""
        self._pool.shutdown(cancel_futures=True)

    async def invoke(self, function: Function, datum: Datum, metadata: Mapping[str, Datum] | None = None) -> Result:
        """The result of one run of the function; errors of the function or a conversion are returned, not raised.

        Args:
            function: the function.
            datum: the value of its trigger.
            metadata: what the trigger says about the value, by the names of the real host.
        """
        context = _Context(function)
        started = time.perf_counter()
        try:
            arguments = {function.argument: converter(function.trigger).decode(datum, trigger_metadata=metadata)}
            if function.wants_context:
                arguments["context"] = context
            result = Result(await self._call(function, arguments))
        except Exception as error:  # the caller turns any error of a function into its answer
            log.error("Executed: Failed", extra=_facts(context, started), exc_info=error)
            return Result(error=error)
        log.debug("Executed: Succeeded", extra=_facts(context, started))
        return result

    async def _call(self, function: Function, arguments: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function.call):
            return await function.call(**arguments)
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function.call(**arguments))


def _facts(context: _Context, started: float) -> dict[str, Any]:
    return {
        "function": context.function_name,
        "invocation_id": context.invocation_id,
        "duration_ms": round((time.perf_counter() - started) * 1000, 1),
    }
