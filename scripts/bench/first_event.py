"""``python -m scripts.bench.first_event WHEEL``: the time from a wheel to the first event in the dashboard.

It does what the README says, in an empty home: makes an environment, installs the wheel, runs ``helios serve``, posts
an event, and waits until headless Chromium shows it. The second run finds the packages in pip's cache. Root runs all of
it as another user: ``--user``, with a Python that this user can run: ``--python``.
"""

import argparse
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from playwright.sync_api import Page, expect, sync_playwright
from rich.console import Console

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process
from scripts.bench import chromium, report
from scripts.bench.report import Cell, Table

STEP_SECONDS: Final = 600
READY_SECONDS: Final = 180
SHOWN_MS: Final = 60_000
ID: Final = "first-event"
RUNS: Final = ("first", "second")

T = TypeVar("T")
User = tuple[int, int] | None
"""User and group id; None: those of this process."""


def main() -> int:
    """Measure, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(prog="scripts.bench.first_event", description="From a wheel to the first event.")
    parser.add_argument("wheel", type=Path, help="the wheel that `make wheel` builds")
    parser.add_argument("--user", default="nobody", help="who runs Helios if this is root (%(default)s)")
    parser.add_argument("--python", default=sys.executable, help="the Python of the environment (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    user: User = None
    if os.geteuid() == 0:
        entry = pwd.getpwnam(options.user)
        user = (entry.pw_uid, entry.pw_gid)
    with _home(user) as home, _page() as page:
        wheel = Path(shutil.copy(options.wheel, home))
        wheel.chmod(0o644)
        runs = {
            name: _run(home / name, home, options.python, wheel, page, user)
            for name in ("first run", "packages in the cache")
        }
    steps = list(next(iter(runs.values())))
    rows: list[Sequence[Cell]] = [(step, *(times[step] for times in runs.values())) for step in steps]
    rows.append(("all", *(sum(times.values()) for times in runs.values())))
    table = Table(title="From a wheel to the first event, s", columns=("step", *runs), rows=rows)
    machine = report.machine()
    console = Console(highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    report.show(console, table)
    if options.json:
        report.write(options.json, machine, [table])
    return 0


def _run(folder: Path, home: Path, python: str, wheel: Path, page: Page, user: User) -> dict[str, float]:
    """The seconds of each step in a new folder of this home."""
    times: dict[str, float] = {}

    def step(name: str, do: Callable[[], T]) -> T:
        started = time.monotonic()
        result = do()
        times[name] = time.monotonic() - started
        return result

    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if _is_of_the_network(name)}

    def command(*words: str | Path) -> None:
        subprocess.run(
            words,
            check=True,
            cwd=home,
            env=environment,
            timeout=STEP_SECONDS,
            user=user and user[0],
            group=user and user[1],
            extra_groups=[] if user else None,
        )

    programs, port = folder / "bin", free_port()
    url = f"http://{HOST}:{port}"
    step("python3 -m venv", lambda: command(python, "-m", "venv", folder))
    step("pip install", lambda: command(programs / "pip", "install", "--quiet", "--no-warn-script-location", wheel))
    serve: list[str | Path] = [programs / "helios", "serve", "--port", str(port), "--data", folder / "data"]
    with Process("helios", serve, log=home / f"{folder.name}.log", env=environment, cwd=home, user=user) as process:
        step("helios serve", lambda: process.wait_ready(answers(f"{url}/api/v1/health"), seconds=READY_SECONDS))
        step("event posted", lambda: _post(url))
        step("event in the dashboard", lambda: _show(page, f"http://localhost:{port}"))
    return times


def _is_of_the_network(name: str) -> bool:
    """Whether pip needs this variable to reach its index."""
    return name.startswith(("PIP_", "SSL_", "REQUESTS_")) or name.lower().endswith("_proxy")


def _post(url: str) -> None:
    event: dict[str, object] = {
        "id": ID,
        "detail-type": "OrderPlaced",
        "source": "shop",
        "account": "123456789012",
        "region": "eu-north-1",
    }
    event |= {"version": "0", "time": datetime.now(UTC).isoformat(), "detail": {"order_id": "ORD-1", "amount": 10}}
    request = urllib.request.Request(  # noqa: S310 - http, to this machine
        f"{url}/api/v1/webhooks/aws/eventbridge", json.dumps(event).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


def _show(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator(f"[data-row*='{ID}']")).to_be_visible(timeout=SHOWN_MS)


@contextmanager
def _home(user: User) -> Iterator[Path]:
    """An empty folder that belongs to the user."""
    folder = Path(tempfile.mkdtemp(prefix="helios-first-event-"))
    if user:
        os.chown(folder, *user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _page() -> Iterator[Page]:
    executable = chromium.find()
    if executable is None:
        raise SystemExit("Chromium is missing: install it, or name it in the variable CHROME.")
    arguments: Sequence[str] = chromium.ARGUMENTS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(arguments))
        try:
            yield browser.new_page()
        finally:
            browser.close()


if __name__ == "__main__":
    sys.exit(main())
