"""Hash-pinned command-line tools in separate environments, so that their dependencies do not affect Helios.

``python -m scripts.build.tools LOCK PROGRAM ARGUMENTS...`` runs a tool and exits with its status.
"""

import fcntl
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def install(lock: Path) -> Path:
    """The folder with the programs of a lock file, which are installed first if they are missing or out of date.

    Raises:
        subprocess.CalledProcessError: the installation failed; the reason is on standard error.
    """
    venv = ROOT / ".venv" / "tools" / lock.stem
    stamp = venv / ".lock"
    expected = f"{sys.version}\n{lock.read_text()}"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with venv.with_suffix(".lock").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)  # the workers of a test run may install at the same time
        if not stamp.exists() or stamp.read_text() != expected:
            uv = Path(sysconfig.get_path("scripts")) / "uv"
            python = venv / "bin/python"
            for step in (
                ["venv", "--clear", "--python", sys.executable, str(venv)],
                [
                    "pip",
                    "install",
                    "--python",
                    str(python),
                    "--require-hashes",
                    "--no-deps",
                    "--requirement",
                    str(lock),
                ],
            ):
                subprocess.run([str(uv), "--quiet", *step], check=True, env=os.environ)
            stamp.write_text(expected)
    return venv / "bin"


if __name__ == "__main__":
    lock, program, *arguments = sys.argv[1:]
    sys.exit(subprocess.run([str(install(Path(lock)) / program), *arguments], check=False).returncode)
