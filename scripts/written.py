"""Small files of Terraform's settings, written once and never over what somebody has changed."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from scripts.clouds import ROOT
from scripts.steps import Step


def written(path: Path, values: Mapping[str, str]) -> Step:
    """The step that writes these values, unless the file is there already."""
    listed = ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    title = f"write {path.relative_to(ROOT)}, if there is none: {listed}"
    return Step(title, partial(_write, path, values))


def _write(path: Path, values: Mapping[str, str]) -> None:
    if path.exists():
        return
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
