"""A pytest plugin (``--progress``) that says how far the tests are: tier by tier, with the time left, and a summary."""

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
"""Time from one line of progress to the next; a terminal's line is written again every second."""
TERMINAL_SECONDS = 1.0


def minutes(seconds: float) -> str:
    """As ``4:05``."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02}"


class Estimate:
    """How long the rest will take, from what each unit of work took last time and from the speed so far."""

    def __init__(self, nodeids: Sequence[str], workers: int) -> None:
        self._workers = workers
        self._expected = expected_seconds(nodeids, known_seconds())
        self._left_of_unit = longest_first(nodeids)
        self._total = self._left = sum(self._expected.values())

    def finished(self, nodeid: str) -> None:
        """Take a test off what is left."""
        seconds = self._expected.pop(nodeid, 0.0)
        self._left -= seconds
        self._left_of_unit[unit_of(nodeid)] -= seconds

    def seconds_left(self, elapsed: float) -> float:
        """Never less than the longest unit of work needs, which one worker alone has to do."""
        done = self._total - self._left
        # The speed so far, with last time's as a start: the first tests say little.
        start = 1 + self._total / 10
        slower = (elapsed * self._workers + start) / (done + start)
        return slower * max(self._left / self._workers, max(self._left_of_unit.values(), default=0.0))


class Progress:
    """Counts the outcomes by tier, and writes them."""

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
        """How long each unit of work took, with the start and the end of its servers."""
        return dict(self._by_unit)

    @property
    def left_out(self) -> int:
        """How many tests were collected and did not run."""
        return self._total.total() - sum(outcomes["done"] for outcomes in self._outcomes.values())

    def begin(self, nodeids: Sequence[str], workers: int) -> None:
        """Know what will run; called once, when the tests have been collected."""
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
        """Keep the category, which the exit code and pytest's own summary go by, and write no dots."""
        category, letter, word = yield
        return (category, letter, word) if self._end.is_set() else (category, "", "")

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
                bad = "".join(f", {outcomes[one]} {one}" for one in ("failed", "skipped") if outcomes[one])
                self._terminal.write_line(f"[{minutes(self._elapsed)}] {tier}: done, {passed} passed{bad}")

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Write whole lines, above the terminal's own line."""
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
        """The test that has run for longest, if that is long enough to wonder."""
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
                figures = f"{total:>7}{passed:>8}{outcomes['failed']:>8}{outcomes['skipped']:>9}{minutes(seconds):>8}"
                self._terminal.write_line(f"{name:<12}{figures}")
            self._terminal.write_line(f"all in {minutes(self._elapsed)} minutes")
            if self.left_out:
                self._terminal.write_line(f"{self.left_out} tests were collected and did not run", red=True)
