"""A plan of commands: shown whole before the first of them runs, then run one by one."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_NOT_READY: Final = 2


class StepFailed(Exception):  # noqa: N818 - reads as the fact it is
    """A step did not succeed; the message names it and says what is known of the reason."""


@dataclass(frozen=True)
class Asked:
    """An argument that is known only when it is needed: what a command answers, between two texts."""

    before: str
    command: Sequence[str]
    after: str = ""

    def __str__(self) -> str:
        """As a shell would be told."""
        texts = [shlex.quote(text) if text else "" for text in (self.before, self.after)]
        return f'"$({shlex.join(self.command)})"'.join(texts)

    def answer(self) -> str:
        """The argument.

        Raises:
            StepFailed: the command has no answer.
        """
        done = subprocess.run(self.command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode or not done.stdout.strip():
            raise StepFailed(f"{shlex.join(self.command)} has no answer: {done.stderr.strip()}")
        return f"{self.before}{done.stdout.strip()}{self.after}"


Command = Sequence[str | Asked]


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
    command: Command | Callable[[], None]
    unless: Command = ()
    folder: Path | None = None
    environment: Callable[[], Mapping[str, str]] = dict


def show(steps: Sequence[Step]) -> None:
    """Print the whole plan."""
    for number, step in enumerate(steps, start=1):
        sys.stdout.write(f"{number:2}. {step.title}\n")
        if not callable(step.command):
            place = f"cd {os.path.relpath(step.folder)} && " if step.folder else ""
            sys.stdout.write(f"      {place}{' '.join(map(_shown, step.command))}\n")
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
        done = subprocess.run(_whole(step.command), check=False, cwd=step.folder, env=environment)
        if done.returncode:
            raise StepFailed(f"step {number}, {step.title}: {step.command[0]} ended with {done.returncode}, see above")


def _shown(argument: str | Asked) -> str:
    return str(argument) if isinstance(argument, Asked) else shlex.quote(argument)


def _whole(command: Command) -> list[str]:
    return [argument.answer() if isinstance(argument, Asked) else argument for argument in command]


def _quiet(command: Command) -> bool:
    return subprocess.run(_whole(command), check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


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
