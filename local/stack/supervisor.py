"""Starts the parts, those that don't need each other at the same time; watches them; ends them in reverse order."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

from local.stack.parts import Part
from local.stack.process import PartFailed

_MOST_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_KILL_PAUSE_SECONDS = 0.1


class Supervisor:
    """A run of parts. A context manager: leaving it ends every part."""

    def __init__(self, parts: Sequence[Part], say: Callable[[str], None]) -> None:
        """Take charge of parts, none of which runs yet.

        Args:
            parts: each after those it needs.
            say: told, in a line, what happens to which part; called from several threads.
        """
        self._parts = parts
        self._say = say
        self._started: list[Part] = []
        self._giving_up = False
        self._restarts: Mapping[str, deque[float]] = {part.name: deque(maxlen=_MOST_RESTARTS) for part in parts}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every part; when one fails, or on Ctrl-C, those that were started are ended.

        Raises:
            PartFailed: a part did not start; the message names it and shows the end of its log.
        """
        with ThreadPoolExecutor(len(self._parts), thread_name_prefix="start") as pool:
            futures: dict[str, Future[None]] = {}
            for part in self._parts:
                needed = [futures[name] for name in part.needs]
                futures[part.name] = pool.submit(self._start, part, needed)
            try:
                for future in futures.values():
                    future.result()
            except BaseException:
                self._give_up(futures.values())
                raise

    def check(self) -> None:
        """Start again what has ended by itself, where that makes sense.

        Raises:
            PartFailed: a part has ended that can't be started again, or ends again and again.
        """
        for part in self._started:
            if not part.server.broken:
                continue
            process = part.server.process
            assert process  # noqa: S101 - it was broken, so it ran; for mypy
            what = f"{part.name} ended {process.ending()}"
            if not part.restarts:
                raise PartFailed(f"{what}, and what it held is gone with it.\n{process.tail()}")
            recent, now = self._restarts[part.name], time.monotonic()
            if len(recent) == _MOST_RESTARTS and now - recent[0] < _RESTART_WINDOW_SECONDS:
                raise PartFailed(f"{what}, more than {_MOST_RESTARTS} times within a minute.\n{process.tail()}")
            recent.append(now)
            self._say(f"{what}; starting it again.\n{process.tail()}")
            part.server.start()
            if part.forgets:
                self._set_up_again(part)

    def stop(self) -> None:
        """End every part, the last one first."""
        while self._started:
            self._started.pop().server.stop()

    def _set_up_again(self, empty: Part) -> None:
        """Start again whatever puts into this part what it has forgotten."""
        self._say(f"{empty.name} begins empty: {empty.forgets}")
        for part in self._parts:
            if empty.name in part.needs:
                part.server.stop()
                part.server.start()
                self._say(f"{part.name} set up again")

    def _start(self, part: Part, needed: Sequence[Future[None]]) -> None:
        for future in needed:
            future.result()
        if self._giving_up:
            return
        began = time.monotonic()
        self._started.append(part)
        try:
            part.server.start()
        except PartFailed as error:
            raise PartFailed(f"{error}\n{part.remedy}".rstrip()) from error
        self._say(f"{part.name:<12} ready after {time.monotonic() - began:.1f} s")

    def _give_up(self, futures: Collection[Future[None]]) -> None:
        """Kill what is being started until no thread starts anything any more."""
        self._giving_up = True
        while wait(futures, timeout=_KILL_PAUSE_SECONDS).not_done:
            for part in list(self._started):
                if part.server.process:
                    part.server.kill()
