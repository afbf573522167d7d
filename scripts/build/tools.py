"""Hash-pinned command-line tools in separate environments, so that their dependencies do not affect Helios.

``python -m scripts.build.tools LOCK PROGRAM ARGUMENTS...`` runs a tool and exits with its status.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SECONDS = 300


def install(lock: Path, *, python: str = sys.executable) -> Path:
    """The folder with the programs of a lock file, which are installed first if they are missing or out of date.

    Args:
        lock: the lock file.
        python: the interpreter of the environment.

    Raises:
        subprocess.CalledProcessError: the installation failed; the reason is on standard error.
    """
    venv = ROOT / ".venv" / "tools" / lock.stem
    stamp = venv / ".lock"
    version = sys.version if python == sys.executable else python
    expected = f"{version}\n{lock.read_text()}"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with venv.with_suffix(".lock").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)  # the workers of a test run may install at the same time
        if not stamp.exists() or stamp.read_text() != expected:
            uv = Path(sysconfig.get_path("scripts")) / "uv"
            for step in (
                ["venv", "--clear", "--python", python, str(venv)],
                [
                    "pip",
                    "install",
                    "--python",
                    str(venv / "bin/python"),
                    "--require-hashes",
                    "--no-deps",
                    "--requirement",
                    str(lock),
                ],
            ):
                subprocess.run([str(uv), "--quiet", *step], check=True, env=os.environ)
            stamp.write_text(expected)
    return venv / "bin"


def install_npm(folder: Path) -> Path:
    """The ``node_modules`` that a folder's lock file pins; npm installs them first if they are missing or out of date.

    Raises:
        FileNotFoundError: npm is missing.
        subprocess.CalledProcessError: npm failed; ``stderr`` has the reason.
        subprocess.TimeoutExpired: npm did not end.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is missing; install Node.js 20.19 or newer from nodejs.org")
    target = ROOT / "build" / "npm" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    stamp, expected = target / ".installed", (folder / "package-lock.json").read_text()
    with (target / ".lock").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)  # the workers of a test run may install at the same time
        if not stamp.exists() or stamp.read_text() != expected:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(folder / name, target / name)
            subprocess.run(
                [npm, "ci", "--ignore-scripts", "--silent"],
                cwd=target,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
            )
            stamp.write_text(expected)
    return target / "node_modules"


if __name__ == "__main__":
    lock, program, *arguments = sys.argv[1:]
    sys.exit(subprocess.run([str(install(Path(lock)) / program), *arguments], check=False).returncode)
