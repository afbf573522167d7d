"""Runs a module of the bench in a process of its own, which takes a job as JSON and prints its result as JSON."""

import sys
from subprocess import run
from typing import TypeVar

import msgspec

from local.stack.config import REPOSITORY

T = TypeVar("T")

SPARE_SECONDS = 120
"""How much longer than its job a process may take, to start and to stop."""


def run_job(module: str, job: object, type_: type[T], *, seconds: float) -> T:
    """The result of a module.

    Args:
        module: the module, which is run as a program.
        job: what it reads.
        type_: the type of what it prints.
        seconds: how long the job takes.

    Raises:
        RuntimeError: the module failed.
    """
    ran = run(
        [sys.executable, "-m", module],
        cwd=REPOSITORY,
        input=msgspec.json.encode(job),
        capture_output=True,
        check=False,
        timeout=seconds + SPARE_SECONDS,
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{ran.stderr.decode()[-2000:]}")
    return msgspec.json.decode(ran.stdout, type=type_)
