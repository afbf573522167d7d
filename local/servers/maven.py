"""Programs from Maven Central: Maven fetches the files of a ``pom.xml``, and each must have its locked checksum."""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from helios.processes import java
from helios.processes.process import ServiceFailed

_TOOLS: Final = Path(__file__).resolve().parents[2] / ".venv" / "tools"
_DOWNLOADED: Final = re.compile(r"Downloaded from .*?([^/ ]+\.jar)\b")
_FAILURE_LINES: Final = 10


class Jars:
    """The jar files of one program, in a folder that belongs to the version of their lock file.

    Attributes:
        program: the name of the program, for messages.
    """

    def __init__(self, program: str, folder: Path, *, oldest_java: int) -> None:
        """Describe the files; ``install`` fetches them.

        Args:
            program: the name of the program, for messages.
            folder: has ``pom.xml``, and ``jars.sha256`` with the checksum of each file in the format of ``sha256sum``.
            oldest_java: the oldest version of Java that runs the program.
        """
        self.program = program
        self._pom = folder / "pom.xml"
        self._lock = folder / "jars.sha256"
        self._name = folder.name.replace("_", "-")
        self._oldest_java = oldest_java

    def missing(self) -> str | None:
        """What this machine lacks to install and run the program, as a sentence; None if it lacks nothing."""
        if reason := java.missing(self.program, oldest=self._oldest_java):
            return reason
        if not self._is_installed() and shutil.which("mvn") is None:
            return f"Maven downloads {self.program}: mvn is not on PATH."
        return None

    def install(self) -> Path:
        """The folder with the files. Maven fetches them if they are missing or out of date; progress is printed.

        Raises:
            ServiceFailed: Java or Maven is missing, Maven failed, or a file does not have the locked checksum.
        """
        if reason := self.missing():
            raise ServiceFailed(reason)
        _TOOLS.mkdir(parents=True, exist_ok=True)
        with (_TOOLS / f"{self._name}.lock").open("w") as mutex:
            fcntl.flock(mutex, fcntl.LOCK_EX)  # the workers of a test run may install at the same time
            if not self._is_installed():
                with tempfile.TemporaryDirectory(dir=_TOOLS) as folder:
                    fetched = Path(folder) / "jars"
                    self._fetch(fetched)
                    self._compare(_checksums(fetched))
                    shutil.rmtree(self._folder(), ignore_errors=True)
                    fetched.rename(self._folder())
        return self._folder()

    def lock(self) -> None:
        """Write the checksums of what Maven resolves, after a change of ``pom.xml``."""
        with tempfile.TemporaryDirectory() as folder:
            self._fetch(Path(folder))
            checksums = _checksums(Path(folder))
        self._lock.write_text("".join(f"{checksum}  {name}\n" for name, checksum in checksums.items()))

    def _folder(self) -> Path:
        """A folder for this lock file: another version has a folder of its own."""
        return _TOOLS / f"{self._name}-{hashlib.sha256(self._lock.read_bytes()).hexdigest()[:12]}"

    def _is_installed(self) -> bool:
        """Whether the folder exists. It gets its name only when all of its files have been compared."""
        return self._folder().exists()

    def _locked(self) -> dict[str, str]:
        lines = [line.split() for line in self._lock.read_text().splitlines()]
        return {name: checksum for checksum, name in lines}

    def _compare(self, fetched: Mapping[str, str]) -> None:
        locked = self._locked()
        names = locked.keys() | fetched.keys()
        if different := sorted(name for name in names if locked.get(name) != fetched.get(name)):
            raise ServiceFailed(f"These files of {self.program} differ from {self._lock.name}: {', '.join(different)}")

    def _fetch(self, folder: Path) -> None:
        """Let Maven copy the files into a folder, and print a line for each that it downloads first.

        Raises:
            ServiceFailed: Maven failed; the message ends with its last lines.
        """
        locked, downloaded = self._locked() if self._lock.exists() else {}, 0
        arguments = ["--file", self._pom, "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        command = ["mvn", "--batch-mode", *map(str, arguments), "-DincludeScope=runtime"]
        lines: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as maven:
            for line in maven.stdout or ():
                lines.append(line)
                if (file := _DOWNLOADED.search(line)) and file[1] in locked:
                    downloaded += 1
                    print(f"{self.program}: {file[1]} ({downloaded} of {len(locked)})", file=sys.stderr, flush=True)
        if maven.returncode:
            raise ServiceFailed(f"Maven could not fetch {self.program}:\n" + "".join(lines[-_FAILURE_LINES:]).strip())


def _checksums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.jar"))}


def main(jars: Jars) -> None:
    """The command line of a module with jars: install them, and print their folder; or the reason why not, and exit."""
    parser = argparse.ArgumentParser(description=f"Install {jars.program} from Maven Central.")
    parser.add_argument("--lock", action="store_true", help="write the checksums of what pom.xml names now")
    lock = parser.parse_args().lock
    try:
        if lock:
            jars.lock()
        print(jars.install())
    except ServiceFailed as error:
        sys.exit(str(error))
