"""A plan of commands: shown whole before the first of them runs, then run one by one."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_NOT_READY: Final = 2


class Step(NamedTuple):
    """One thing to do.

    Attributes:
        title: what it brings about.
        command: what is run; or, where it is no command, a function that does it.
        unless: a command whose success shows that it has been done before.
        folder: where to run it.
        environment: variables that are known only when it runs; they may be secret, so that they are never shown.
    """

    title: str
    command: Sequence[str] | Callable[[], None]
    unless: Sequence[str] = ()
    folder: Path | None = None
    environment: Callable[[], Mapping[str, str]] = dict


class StepFailed(Exception):  # noqa: N818 - reads as the fact it is
    """A step did not succeed; the message names it and says what is known of the reason."""


def show(steps: Sequence[Step]) -> None:
    """Print the whole plan."""
    for number, step in enumerate(steps, start=1):
        sys.stdout.write(f"{number:2}. {step.title}\n")
        if not callable(step.command):
            place = f"cd {os.path.relpath(step.folder)} && " if step.folder else ""
            sys.stdout.write(f"      {place}{shlex.join(step.command)}\n")
    sys.stdout.flush()


def run(steps: Sequence[Step]) -> None:
    """Do them in order; what was done before is left out.

    Raises:
        StepFailed: one failed; those after it were not begun, and running all of them again is safe.
    """
    for number, step in enumerate(steps, start=1):
        sys.stdout.write(f"[{number}/{len(steps)}] {step.title}\n")
        sys.stdout.flush()
        if step.unless and _quiet(step.unless):
            sys.stdout.write("      has been done before\n")
            continue
        if callable(step.command):
            step.command()
            continue
        environment = {**os.environ, **step.environment()}
        done = subprocess.run(step.command, check=False, cwd=step.folder, env=environment)
        if done.returncode:
            raise StepFailed(f"step {number}, {step.title}: {step.command[0]} ended with {done.returncode}, see above")


def _quiet(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def agreed(*, beforehand: bool) -> bool:
    """Whether somebody wants the plan that was just shown to be carried out."""
    if beforehand:
        return True
    if not sys.stdin.isatty():
        sys.stderr.write("nothing was changed: nobody can be asked here; --yes agrees beforehand\n")
        return False
    return input("Carry this out? Only 'yes' does: ").strip() == "yes"


def carry_out(steps: Sequence[Step], *, missing: Sequence[str], dry_run: bool, yes: bool, program: str) -> int:
    """Show the plan and what is missing for it; unless this is a dry run, ask, and do it. Returns the exit status."""
    show(steps)
    for reason in missing:
        sys.stderr.write(f"{program}: {reason}\n")
    if dry_run:
        sys.stdout.write("Nothing was changed: this was a dry run.\n")
        return EXIT_OK
    if missing:
        sys.stderr.write(f"{program}: nothing was changed\n")
        return EXIT_NOT_READY
    if not agreed(beforehand=yes):
        return EXIT_NOT_READY
    try:
        run(steps)
    except (StepFailed, OSError) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return EXIT_FAILED
    return EXIT_OK
