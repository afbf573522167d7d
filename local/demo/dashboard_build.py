"""``python -m local.demo.dashboard_build``: builds the dashboard with npm unless the build is up to date."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / "dashboard"
DIST = _FOLDER / "dist"
_MODULES = _FOLDER / "node_modules"
_INSTALLED = _MODULES / ".installed"
_BUILT = _MODULES / ".built"
"""Digests of the inputs of the last install and build. ``npm ci`` deletes both, so that both steps then run again."""

_OUTPUTS = {"dist", "node_modules", "tests", "playwright-report", "test-results"}


def build() -> bool:
    """Build the dashboard unless it is up to date; returns whether a build ran.

    Raises:
        FileNotFoundError: npm is missing; the message says what to install.
        subprocess.CalledProcessError: npm failed; its output says why.
    """
    lock = _FOLDER / "package-lock.json"
    with lock.open("rb") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # two demos may start at once
        if is_current():
            return False
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError(
                "npm is missing. Install Node.js 20.19 or newer (nodejs.org) to build the dashboard."
            )
        dependencies = _digest([lock])
        if not _INSTALLED.exists() or _INSTALLED.read_text() != dependencies:
            _run([npm, "ci", "--no-audit", "--no-fund"])
            _INSTALLED.write_text(dependencies)
        sources = _digest(_sources())
        _run([npm, "run", "build"])
        _BUILT.write_text(sources)
        return True


def is_current() -> bool:
    """Whether the build is that of the present sources."""
    return _BUILT.exists() and (DIST / "index.html").exists() and _BUILT.read_text() == _digest(_sources())


def _sources() -> Iterator[Path]:
    """Every source file of the build, in a fixed order."""
    for path in sorted(_FOLDER.iterdir()):
        if path.name not in _OUTPUTS:
            yield from [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=_FOLDER, check=True)


def main() -> int:
    """Build the dashboard, and return 1 if that failed."""
    try:
        built = build()
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{' '.join(error.cmd)} failed. See its output above.\n")
        return 1
    sys.stdout.write(f"{DIST}: {'built' if built else 'up to date'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
