"""Checks the API's documents by other people's tools.

The tools are those that the users of the documents run: Redocly, Spectral, AsyncAPI's own parser, and a generator of
clients. Their versions are pinned with hashes.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from scripts.build.tools import install, install_npm

_HERE = Path(__file__).parent
_SECONDS = 300


def openapi(file: Path) -> str:
    """What Redocly and Spectral find in an OpenAPI document; empty if they find nothing, not even a warning.

    Raises:
        FileNotFoundError: npm is missing.
        subprocess.CalledProcessError: npm failed; the reason is on standard error.
    """
    programs = install_npm(_HERE) / ".bin"
    redocly = [
        "redocly",
        "lint",
        "--config",
        str(_HERE / "redocly.yaml"),
        "--format",
        "stylish",
        "--max-problems",
        "50",
    ]
    spectral = ["spectral", "lint", "--quiet", "--ruleset", str(_HERE / "spectral.yaml"), "--fail-severity", "hint"]
    return "".join(_findings([str(programs / name), *options, str(file)]) for name, *options in (redocly, spectral))


def asyncapi(file: Path) -> str:
    """What AsyncAPI's parser finds in an AsyncAPI document; empty if it finds nothing.

    Raises:
        FileNotFoundError: npm is missing.
        subprocess.CalledProcessError: npm failed; the reason is on standard error.
    """
    node = shutil.which("node") or "node"
    return _findings([node, str(_HERE / "parse.cjs"), str(file)], NODE_PATH=str(install_npm(_HERE)))


def generate_client(document: Path, folder: Path) -> Path:
    """Generate a Python package from an OpenAPI document into a new folder, by openapi-python-client.

    Returns:
        The interpreter that has the packages which the generated package needs.

    Raises:
        subprocess.CalledProcessError: the generator fails on the document, or warns; its output says why.
    """
    programs = install(_HERE / "generator.lock")
    generator = programs / "openapi-python-client"
    subprocess.run(
        [generator, "generate", "--fail-on-warning", "--meta", "none", "--path", document, "--output-path", folder],
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},  # the generator formats with ruff
        check=True,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    return programs / "python"


def _findings(command: Sequence[str], **variables: str) -> str:
    """The output of a check that failed; empty if it passed."""
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    done = subprocess.run(
        command, env=os.environ | quiet | variables, check=False, capture_output=True, text=True, timeout=_SECONDS
    )
    return done.stdout + done.stderr if done.returncode else ""
