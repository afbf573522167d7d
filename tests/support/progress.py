"""A pytest plugin (``--progress``) that prints the progress of each tier, the time left, and a summary."""

import contextlib
import functools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest

from tests.support.schedule import expected_seconds, known_seconds, longest_first, unit_of
from tests.support.tiers import TIERS, tier_of

LINE_SECONDS = 10.0
"""Time between two lines of progress; on a terminal the line is rewritten every second."""
TERMINAL_SECONDS = 1.0


def minutes(seconds: float) -> str:
    """The time in the form ``4:05``."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02}"


class Estimate:
    """The time left, from the last duration of each unit of work and the speed of this run."""

    def __init__(self, nodeids: Sequence[str], workers: int) -> None:
        self._workers = workers
        self._expected = expected_seconds(nodeids, known_seconds())
        self._remaining_of_unit = longest_first(nodeids)
        self._total = self._remaining = sum(self._expected.values())

    def finished(self, nodeid: str) -> None:
        """Subtract a finished test from the remaining work."""
        seconds = self._expected.pop(nodeid, 0.0)
        self._remaining -= seconds
        self._remaining_of_unit[unit_of(nodeid)] -= seconds

    def seconds_left(self, elapsed: float) -> float:
        """The time left: at least the time of the longest unit of work, which a single worker runs."""
        done = self._total - self._remaining
        # The speed of this run, weighted with the last one, because the first tests are a small sample.
        weight = 1 + self._total / 10
        slowdown = (elapsed * self._workers + weight) / (done + weight)
        return slowdown * max(self._remaining / self._workers, max(self._remaining_of_unit.values(), default=0.0))


class Progress:
    """Counts the outcomes by tier, and prints them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = self._tests_began = time.monotonic()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._total: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = {tier.name: Counter() for tier in TIERS}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._by_unit: defaultdict[str, float] = defaultdict(float)
        self._running: dict[str, float] = {}
        self._bad: set[str] = set()
        self._estimate: Estimate | None = None
        self._thread = threading.Thread(target=self._write_regularly, daemon=True)

    @functools.cached_property
    def _terminal(self) -> Any:
        return self._config.pluginmanager.get_plugin("terminalreporter")

    @property
    def seconds_by_unit(self) -> dict[str, float]:
        """The duration of each unit of work, including the start and the end of its servers."""
        return dict(self._by_unit)

    @property
    def left_out(self) -> int:
        """The number of tests that were collected and did not run."""
        return self._total.total() - sum(outcomes["done"] for outcomes in self._outcomes.values())

    def begin(self, nodeids: Sequence[str], workers: int) -> None:
        """Print and store what will run; called when the tests have been collected."""
        if self._estimate is not None or not nodeids:
            return
        self._tests_began = time.monotonic()
        self._estimate = Estimate(nodeids, workers)
        self._total.update(tier_of(nodeid).name for nodeid in nodeids)
        counts = ", ".join(f"{tier.name} {self._total[tier.name]}" for tier in TIERS if self._total[tier.name])
        left = minutes(self._estimate.seconds_left(0))
        with self._writing():
            self._terminal.write_line(f"{len(nodeids)} tests by {workers} workers, about {left} minutes: {counts}")
        self._thread.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self.begin(ids, len(self._config.getvalue("tx")))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self.begin([item.nodeid for item in session.items], workers=1)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, tuple[str, Any, Any], tuple[str, str, str]]:
        """Return the category, which decides the exit code and pytest's summary, without a dot or a word."""
        category, short, word = yield
        return (category, short, word) if self._end.is_set() else (category, "", "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._end.set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tier = tier_of(report.nodeid).name
        self._seconds[tier] += report.duration
        self._by_unit[unit_of(report.nodeid)] += report.duration
        if report.failed and report.nodeid not in self._bad:
            self._bad.add(report.nodeid)
            with self._writing():
                self._terminal.write_line(f"FAILED {report.nodeid} ({report.when})", red=True)
        if report.when != "teardown" and report.skipped:
            self._outcomes[tier]["skipped"] += 1
        elif report.when == "teardown":
            self._finished(report.nodeid, tier)

    def _finished(self, nodeid: str, tier: str) -> None:
        self._running.pop(nodeid, None)
        outcomes = self._outcomes[tier]
        outcomes["done"] += 1
        outcomes["failed"] += nodeid in self._bad
        if self._estimate:
            self._estimate.finished(nodeid)
        if outcomes["done"] == self._total[tier]:
            with self._writing():
                passed = outcomes["done"] - outcomes["failed"] - outcomes["skipped"]
                bad = "".join(
                    f", {outcomes[outcome]} {outcome}" for outcome in ("failed", "skipped") if outcomes[outcome]
                )
                self._terminal.write_line(f"[{minutes(self._elapsed)}] {tier}: done, {passed} passed{bad}")

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock while lines are written above the progress line of a terminal."""
        with self._lock:
            if self._terminal.isatty:
                self._terminal.rewrite("", erase=True)
            yield

    def _write_regularly(self) -> None:
        while not self._end.wait(TERMINAL_SECONDS if self._terminal.isatty else LINE_SECONDS):
            with self._lock:
                if self._terminal.isatty:
                    width = self._terminal._tw.fullwidth - 1
                    self._terminal.rewrite(self._line()[:width], erase=True)
                else:
                    self._terminal.write_line(self._line())

    def _line(self) -> str:
        done = sum(outcomes["done"] for outcomes in self._outcomes.values())
        failed = f", {len(self._bad)} failed" if self._bad else ""
        under_way = " · ".join(
            f"{name} {outcomes['done']}/{self._total[name]}"
            for name, outcomes in self._outcomes.items()
            if 0 < outcomes["done"] < self._total[name]
        )
        left = minutes(self._estimate.seconds_left(time.monotonic() - self._tests_began)) if self._estimate else "?"
        clock = f"[{minutes(self._elapsed)}, about {left} left]"
        return f"{clock} {done} of {self._total.total()} done{failed} · {under_way}{self._longest_running()}"

    def _longest_running(self) -> str:
        """The test that has run for longest, if it has run for at least ``LINE_SECONDS``."""
        running = sorted(self._running.items(), key=lambda entry: entry[1])
        if not running or (seconds := time.monotonic() - running[0][1]) < LINE_SECONDS:
            return ""
        return f" · {seconds:.0f} s in {running[0][0].removeprefix('tests/')}"

    def pytest_terminal_summary(self) -> None:
        rows = [
            (tier.name, self._total[tier.name], self._outcomes[tier.name], self._seconds[tier.name])
            for tier in TIERS
            if self._total[tier.name]
        ]
        with self._writing():
            self._terminal.section("tests by tier", sep="=")
            self._terminal.write_line(f"{'tier':<12}{'tests':>7}{'passed':>8}{'failed':>8}{'skipped':>9}{'work':>8}")
            for name, total, outcomes, seconds in rows:
                passed = outcomes["done"] - outcomes["failed"] - outcomes["skipped"]
                columns = f"{total:>7}{passed:>8}{outcomes['failed']:>8}{outcomes['skipped']:>9}{minutes(seconds):>8}"
                self._terminal.write_line(f"{name:<12}{columns}")
            self._terminal.write_line(f"all in {minutes(self._elapsed)} minutes")
            if self.left_out:
                self._terminal.write_line(f"{self.left_out} tests were collected and did not run", red=True)
