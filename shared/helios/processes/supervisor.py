"""Starts the services in parallel where they don't need each other, watches them, and stops them in reverse order."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple, Self

from helios.processes.process import ServiceFailed
from helios.processes.server import Server

_MOST_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_KILL_PAUSE_SECONDS = 0.1


class Service(NamedTuple):
    """One service of a run.

    Attributes:
        name: its name in the output of the run.
        server: starts and stops the service.
        needs: the services that must be ready before it starts; services that need none start at the same time.
        ports: the names of the settings with the ports it listens on.
        restarts: whether the supervisor restarts it when it crashes. The crash of any other service ends the run.
        data_loss: what a crash loses, as the message to the user, for a service that restarts empty; the services
            that need it are then restarted too. Empty if a crash loses nothing.
        remedy: advice to the user when it does not start.
        data: the folder in which an emulator stores undelivered events.
    """

    name: str
    server: Server
    needs: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    restarts: bool = False
    data_loss: str = ""
    remedy: str = ""
    data: Path | None = None


class Supervisor:
    """A run of services. A context manager: leaving it stops every service."""

    def __init__(self, services: Sequence[Service], say: Callable[[str], None]) -> None:
        """Set the services; none of them runs yet.

        Args:
            services: the services, each one after those it needs.
            say: prints a progress message; called from several threads.
        """
        self._services = services
        self._say = say
        self._name_width = max(len(service.name) for service in services)
        self._started: list[Service] = []
        self._aborting = False
        self._restarts: Mapping[str, deque[float]] = {
            service.name: deque(maxlen=_MOST_RESTARTS) for service in services
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, first: Collection[str] = (), then: Callable[[], None] | None = None) -> None:
        """Start every service; when one fails, or on Ctrl-C, kill those that are not ready yet.

        Those that are ready run on until ``stop``: the caller may still need them.

        Args:
            first: the names of some services.
            then: called as soon as these are ready, while the others start.

        Raises:
            ServiceFailed: a service did not start; the message names it and shows the end of its log.
        """
        with ThreadPoolExecutor(len(self._services), thread_name_prefix="start") as pool:
            futures: dict[str, Future[None]] = {}
            for service in self._services:
                needed = [futures[name] for name in service.needs]
                futures[service.name] = pool.submit(self._start, service, needed)
            try:
                for name in first:
                    futures[name].result()
                if then:
                    then()
                for future in futures.values():
                    future.result()
            except BaseException:
                self._abort(futures)
                raise

    def check(self) -> None:
        """Restart the services that crashed.

        Raises:
            ServiceFailed: a service crashed that can't be restarted, or crashed too often.
        """
        for service in self._started:
            if not service.server.broken:
                continue
            process = service.server.process
            assert process  # noqa: S101 - it was broken, so it ran; for mypy
            end = f"{service.name} ended {process.ending()}"
            if not service.restarts:
                raise ServiceFailed(f"{end}. It can't be restarted, so everything stops.\n{process.tail()}")
            recent, now = self._restarts[service.name], time.monotonic()
            if len(recent) == _MOST_RESTARTS and now - recent[0] < _RESTART_WINDOW_SECONDS:
                raise ServiceFailed(f"{end}, more than {_MOST_RESTARTS} times within a minute.\n{process.tail()}")
            recent.append(now)
            self._say(f"{end}. Restarting it.\n{process.tail()}")
            service.server.start()
            if service.data_loss:
                self._set_up_again(service)

    def stop(self) -> None:
        """Stop every service, the last one first."""
        while self._started:
            self._started.pop().server.stop()

    def _set_up_again(self, empty: Service) -> None:
        """Restart every service that needs this one, so that each sets up its resources again."""
        self._say(f"{empty.name} starts empty: {empty.data_loss}")
        for service in self._services:
            if empty.name in service.needs:
                service.server.stop()
                service.server.start()
                self._say(f"{service.name} set up again")

    def _start(self, service: Service, needed: Sequence[Future[None]]) -> None:
        for future in needed:
            future.result()
        if self._aborting:
            return
        start = time.monotonic()
        self._started.append(service)
        try:
            service.server.start()
        except ServiceFailed as error:
            raise ServiceFailed(f"{error}\n{service.remedy}".rstrip()) from error
        self._say(f"{service.name:<{self._name_width}} ready after {time.monotonic() - start:.1f} s")

    def _abort(self, futures: Mapping[str, Future[None]]) -> None:
        """Kill the services that are starting until every thread that starts one has ended."""
        self._aborting = True
        while wait(futures.values(), timeout=_KILL_PAUSE_SECONDS).not_done:
            for service in list(self._started):
                if service.server.process and not futures[service.name].done():
                    service.server.kill()
