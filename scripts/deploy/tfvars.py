"""Small files of Terraform's settings, written once and never over what somebody has changed."""

import json
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from scripts.deploy.clouds import ROOT
from scripts.deploy.plan import Asked, Step

Values = Mapping[str, str | Mapping[str, str | Asked]]


def write_once(path: Path, values: Values) -> Step:
    """The step that writes these values, unless the file is there already."""
    listed = ", ".join(f"{name} = {json.dumps(value, default=_asked)}" for name, value in values.items())
    title = f"write {path.relative_to(ROOT)}, if there is none: {listed}"
    return Step(title, partial(_write, path, values))


def _asked(value: Asked) -> str:
    return f"$({shlex.join(value.command)})"


def _write(path: Path, values: Values) -> None:
    if path.exists():
        return
    path.write_text("".join(f"{name} = {json.dumps(value, default=Asked.answer)}\n" for name, value in values.items()))
