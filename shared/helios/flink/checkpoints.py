"""Finds the last checkpoint of a job in the folder of its checkpoints."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from helios.errors import ConfigurationError

_METADATA = "_metadata"


def latest_checkpoint(url: str) -> str | None:
    """The newest complete checkpoint or savepoint of any job in a folder; None if there is none.

    Flink writes ``_metadata`` last (Apache Flink, "Checkpoints", "Directory Structure").

    Raises:
        ConfigurationError: the URL does not name a folder of this machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"", "file"}:
        raise ConfigurationError(f"--from latest: {url} is no folder of this machine. Name the checkpoint itself.")
    files = [*Path(unquote(parts.path)).glob(f"*/{_METADATA}"), *Path(unquote(parts.path)).glob(f"*/chk-*/{_METADATA}")]
    newest = max(files, key=lambda file: file.stat().st_mtime_ns, default=None)
    return str(newest.parent) if newest else None
