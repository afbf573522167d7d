"""A disk that a test can fill: a small tmpfs in a mount namespace, which needs no privileges where Linux allows it."""

import errno
import pwd
import subprocess
from pathlib import Path

from helios.processes.process import scrubbed_environment
from helios.processes.server import Server

_START_SECONDS = 20
_BLOCK = bytes(4096)

_UNSHARE = ("unshare", "--map-root-user", "--mount")
_MOUNT = 'mount -t tmpfs -o size="$1"m,mode=0700 helios "$2" && exec sleep infinity'


def refused() -> str | None:
    """Why this machine has no such disk; None if it has."""
    try:
        answer = subprocess.run(
            [*_UNSHARE, "true"], env=scrubbed_environment(), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "A disk that can be full needs the program unshare of Linux."
    return f"A disk that can be full needs user namespaces: {answer.stderr.strip()}" if answer.returncode else None


class SmallDisk(Server):
    """The process that owns the namespace. Its end removes the disk.

    Attributes:
        path: where the processes in the namespace see the disk.
    """

    def __init__(self, path: Path, *, megabytes: int, log: Path) -> None:
        """Describe the disk; ``start`` mounts it.

        Args:
            path: the folder on which the disk is mounted, created when missing.
            megabytes: its size.
            log: a log file.
        """
        self.path = path
        self._megabytes = megabytes
        self._log = log

    @property
    def wrapper(self) -> list[str]:
        """A command that runs the one that follows it in the namespace."""
        return ["nsenter", f"--target={self.pid}", "--user", "--preserve-credentials", "--mount", "--"]

    def wrapper_of_a_user(self, folder: Path) -> list[str]:
        """Like ``wrapper``, in this folder, as an ordinary user: Postgres refuses root.

        The user is that of this process, and the command sees it as nobody.
        """
        nobody = pwd.getpwnam("nobody")
        user = [f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}", f"--wd={folder}"]
        return [*self.wrapper, "unshare", "--user", *user, "--"]

    def start(self) -> None:
        """Mount the disk."""
        self.path.mkdir(parents=True, exist_ok=True)
        command = [*_UNSHARE, "sh", "-c", _MOUNT, "sh", str(self._megabytes), str(self.path)]
        process = self._launch("small-disk", command, log=self._log)
        process.wait_ready(self._is_mounted, seconds=_START_SECONDS)

    def stop(self) -> None:
        """Remove the disk."""
        if self.process:
            self.process.stop()

    def fill(self) -> None:
        """Write a file, or more of it, until no byte fits any more."""
        try:
            with self._filler.open("ab", buffering=0) as file:
                while True:
                    file.write(_BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def free(self) -> None:
        """Remove the file that ``fill`` wrote."""
        self._filler.unlink()

    @property
    def _seen_from_here(self) -> Path:
        return Path(f"/proc/{self.pid}/root") / self.path.relative_to("/")

    @property
    def _filler(self) -> Path:
        return self._seen_from_here / "filler"

    def _is_mounted(self) -> bool:
        return self._seen_from_here.stat().st_dev != self.path.stat().st_dev
