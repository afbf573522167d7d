"""A plan of commands, shown completely before the first command runs."""

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
    """A step failed; the message names the step and the reason."""


@dataclass(frozen=True)
class CommandOutput:
    """An argument that is computed when a step runs: the output of a command, between two texts."""

    before: str
    command: Sequence[str]
    after: str = ""

    def __str__(self) -> str:
        """The argument in the syntax of a shell."""
        texts = [shlex.quote(text) if text else "" for text in (self.before, self.after)]
        return f'"$({shlex.join(self.command)})"'.join(texts)

    def value(self) -> str:
        """The argument, with the command's output.

        Raises:
            StepFailed: the command failed or printed nothing.
        """
        done = subprocess.run(self.command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode or not done.stdout.strip():
            raise StepFailed(f"{shlex.join(self.command)} printed nothing: {done.stderr.strip()}")
        return f"{self.before}{done.stdout.strip()}{self.after}"


Command = Sequence[str | CommandOutput]


class Step(NamedTuple):
    """One step of a plan.

    Attributes:
        title: the step's effect, in words.
        command: the command to run, or a function to call.
        unless: a command whose success means that the step was done before.
        folder: the working directory.
        environment: returns variables when the step runs. They may be secret, so the plan does not show them.
    """

    title: str
    command: Command | Callable[[], None]
    unless: Command = ()
    folder: Path | None = None
    environment: Callable[[], Mapping[str, str]] = dict


def show(steps: Sequence[Step]) -> None:
    """Print the plan."""
    for number, step in enumerate(steps, start=1):
        sys.stdout.write(f"{number:2}. {step.title}\n")
        if not callable(step.command):
            change_folder = f"cd {os.path.relpath(step.folder)} && " if step.folder else ""
            sys.stdout.write(f"      {change_folder}{' '.join(map(_shown, step.command))}\n")
    sys.stdout.flush()


def run(steps: Sequence[Step]) -> None:
    """Run the steps in order, without those that were done before.

    Raises:
        StepFailed: a step failed. The later steps did not run; running all steps again is safe.
    """
    for number, step in enumerate(steps, start=1):
        sys.stdout.write(f"[{number}/{len(steps)}] {step.title}\n")
        sys.stdout.flush()
        if step.unless and _succeeds(step.unless):
            sys.stdout.write("      already done\n")
            continue
        if callable(step.command):
            step.command()
            continue
        environment = {**os.environ, **step.environment()}
        done = subprocess.run(_resolved(step.command), check=False, cwd=step.folder, env=environment)
        if done.returncode:
            raise StepFailed(f"step {number}, {step.title}: {step.command[0]} exited with {done.returncode}; see above")


def _shown(argument: str | CommandOutput) -> str:
    return str(argument) if isinstance(argument, CommandOutput) else shlex.quote(argument)


def _resolved(command: Command) -> list[str]:
    return [argument.value() if isinstance(argument, CommandOutput) else argument for argument in command]


def _succeeds(command: Command) -> bool:
    return (
        subprocess.run(_resolved(command), check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0
    )


def confirmed(*, yes: bool) -> bool:
    """Whether the user approves the plan; ``yes`` approves it without asking."""
    if yes:
        return True
    if not sys.stdin.isatty():
        sys.stderr.write("nothing was changed: standard input is not a terminal. Use --yes to run without asking.\n")
        return False
    return input("Run these steps? Enter 'yes' to continue: ").strip() == "yes"


def carry_out(steps: Sequence[Step], *, missing: Sequence[str], dry_run: bool, yes: bool, program: str) -> int:
    """Show the plan and the missing requirements, ask, and run the plan unless this is a dry run; the exit status."""
    show(steps)
    for reason in missing:
        sys.stderr.write(f"{program}: {reason}\n")
    if dry_run:
        sys.stdout.write("Nothing was changed: this was a dry run.\n")
        return EXIT_OK
    if missing:
        sys.stderr.write(f"{program}: nothing was changed\n")
        return EXIT_NOT_READY
    if not confirmed(yes=yes):
        return EXIT_NOT_READY
    try:
        run(steps)
    except (StepFailed, OSError) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return EXIT_FAILED
    return EXIT_OK
