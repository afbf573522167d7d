"""Small files of Terraform's settings, which are written once and never overwritten."""

import json
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from scripts.deploy.clouds import ROOT
from scripts.deploy.plan import CommandOutput, Step

Values = Mapping[str, str | CommandOutput | Mapping[str, str | CommandOutput]]


def write_once(path: Path, values: Values) -> Step:
    """The step that writes these values, unless the file exists."""
    listed = ", ".join(f"{name} = {json.dumps(value, default=_command_text)}" for name, value in values.items())
    title = f"write {path.relative_to(ROOT)} unless it exists: {listed}"
    return Step(title, partial(_write, path, values))


def _command_text(value: CommandOutput) -> str:
    return f"$({shlex.join(value.command)})"


def _write(path: Path, values: Values) -> None:
    if path.exists():
        return
    path.write_text(
        "".join(f"{name} = {json.dumps(value, default=CommandOutput.value)}\n" for name, value in values.items())
    )
