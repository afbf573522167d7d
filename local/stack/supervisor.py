"""Starts the services, those that don't need each other at the same time; watches them; ends them in reverse order."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

from local.stack.process import ServiceFailed
from local.stack.services import Service

_MOST_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_KILL_PAUSE_SECONDS = 0.1


class Supervisor:
    """A run of services. A context manager: leaving it ends every service."""

    def __init__(self, services: Sequence[Service], say: Callable[[str], None]) -> None:
        """Take charge of services, none of which runs yet.

        Args:
            services: each after those it needs.
            say: told, in a line, what happens to which service; called from several threads.
        """
        self._services = services
        self._say = say
        self._started: list[Service] = []
        self._giving_up = False
        self._restarts: Mapping[str, deque[float]] = {
            service.name: deque(maxlen=_MOST_RESTARTS) for service in services
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every service; when one fails, or on Ctrl-C, those that were started are ended.

        Raises:
            ServiceFailed: a service did not start; the message names it and shows the end of its log.
        """
        with ThreadPoolExecutor(len(self._services), thread_name_prefix="start") as pool:
            futures: dict[str, Future[None]] = {}
            for service in self._services:
                needed = [futures[name] for name in service.needs]
                futures[service.name] = pool.submit(self._start, service, needed)
            try:
                for future in futures.values():
                    future.result()
            except BaseException:
                self._give_up(futures.values())
                raise

    def check(self) -> None:
        """Start again what has ended by itself, where that makes sense.

        Raises:
            ServiceFailed: a service has ended that can't be started again, or ends again and again.
        """
        for service in self._started:
            if not service.server.broken:
                continue
            process = service.server.process
            assert process  # noqa: S101 - it was broken, so it ran; for mypy
            what = f"{service.name} ended {process.ending()}"
            if not service.restarts:
                raise ServiceFailed(f"{what}, and what it held is gone with it.\n{process.tail()}")
            recent, now = self._restarts[service.name], time.monotonic()
            if len(recent) == _MOST_RESTARTS and now - recent[0] < _RESTART_WINDOW_SECONDS:
                raise ServiceFailed(f"{what}, more than {_MOST_RESTARTS} times within a minute.\n{process.tail()}")
            recent.append(now)
            self._say(f"{what}; starting it again.\n{process.tail()}")
            service.server.start()
            if service.forgets:
                self._set_up_again(service)

    def stop(self) -> None:
        """End every service, the last one first."""
        while self._started:
            self._started.pop().server.stop()

    def _set_up_again(self, empty: Service) -> None:
        """Start again whatever puts into this service what it has forgotten."""
        self._say(f"{empty.name} begins empty: {empty.forgets}")
        for service in self._services:
            if empty.name in service.needs:
                service.server.stop()
                service.server.start()
                self._say(f"{service.name} set up again")

    def _start(self, service: Service, needed: Sequence[Future[None]]) -> None:
        for future in needed:
            future.result()
        if self._giving_up:
            return
        began = time.monotonic()
        self._started.append(service)
        try:
            service.server.start()
        except ServiceFailed as error:
            raise ServiceFailed(f"{error}\n{service.remedy}".rstrip()) from error
        self._say(f"{service.name:<12} ready after {time.monotonic() - began:.1f} s")

    def _give_up(self, futures: Collection[Future[None]]) -> None:
        """Kill what is being started until no thread starts anything any more."""
        self._giving_up = True
        while wait(futures, timeout=_KILL_PAUSE_SECONDS).not_done:
            for service in list(self._started):
                if service.server.process:
                    service.server.kill()
