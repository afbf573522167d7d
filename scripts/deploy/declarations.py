"""The files that declare flows and sources, which the packages of every cloud contain, and receivers, which AWS' do."""

from pathlib import Path
from typing import Final

from scripts.deploy.clouds import Cloud, selected
from scripts.deploy.terraform import setting

SHARED: Final = ("flows", "sources")
"""What the root of each cloud names with ``flows_file`` and ``sources_file``, and all name the same."""

KINDS: Final = (*SHARED, "notifications")
"""What some root names with ``KIND_file``."""


def files_of(cloud: Cloud) -> dict[str, Path]:
    """The files that a root names, by their kind; a relative path begins in the folder of the root."""
    named = {kind: setting(cloud, f"{kind}_file") for kind in KINDS}
    return {kind: cloud.root / file for kind, file in named.items() if file and file != "null"}


def problems(environment: str | None) -> list[str]:
    """The files that are missing, or not the same for every cloud that is set up: a sentence for each.

    The functions of each cloud evaluate the flow instances of the events that they store.
    """
    clouds = [cloud for cloud in selected(None, environment) if cloud.settings.is_file()]
    return [problem for kind in KINDS for problem in _problems(kind, clouds)]


def _problems(kind: str, clouds: list[Cloud]) -> list[str]:
    files = {cloud.source: files_of(cloud).get(kind) for cloud in clouds}
    if missing := [
        f"{source}: {kind}_file names {file}, which is no file"
        for source, file in files.items()
        if file and not file.is_file()
    ]:
        return missing
    if kind not in SHARED or len({file and file.read_bytes() for file in files.values()}) <= 1:
        return []
    named = ", ".join(f"{source}: {file or 'none'}" for source, file in files.items())
    return [f"{kind}_file must be the same for every cloud ({named}): they would evaluate flows differently"]
