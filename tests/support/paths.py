"""Paths that a program has to cope with."""

from pathlib import Path

LENGTH = 220
"""Longer than the 107 bytes that Linux allows the path of a Unix socket."""


def awkward_folder(parent: Path) -> Path:
    """The path of a folder below ``parent`` that is long, and has spaces, an apostrophe, brackets and an umlaut."""
    name = "Größe's & Maß (1) "
    return parent / (name + "x" * max(1, LENGTH - len(f"{parent}/{name}")))
