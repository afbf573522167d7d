"""Command-line tools in an environment of their own, hash-pinned: what they depend on is no business of Helios.

``python -m scripts.build.tools LOCK PROGRAM ARGUMENTS...`` runs one of them, and exits as it does.
"""

import fcntl
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def install(lock: Path) -> Path:
    """The folder that holds the programs of a lock file; installed now if they are not there or out of date.

    Raises:
        subprocess.CalledProcessError: the installation failed; what went wrong is on standard error.
    """
    venv = ROOT / ".venv" / "tools" / lock.stem
    stamp = venv / ".lock"
    wanted = f"{sys.version}\n{lock.read_text()}"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with venv.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # the workers of a test run may ask at the same time
        if not stamp.exists() or stamp.read_text() != wanted:
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
            stamp.write_text(wanted)
    return venv / "bin"


if __name__ == "__main__":
    lock, program, *arguments = sys.argv[1:]
    sys.exit(subprocess.run([str(install(Path(lock)) / program), *arguments], check=False).returncode)
