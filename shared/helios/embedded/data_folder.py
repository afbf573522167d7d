"""The folder in which ``helios serve`` keeps its own Postgres, and what other commands read from it."""

import os
import sys
from pathlib import Path

from helios.embedded import credentials
from helios.embedded.credentials import DatabaseCredentials
from helios.embedded.postgres_install import reachable
from helios.errors import ConfigurationError
from helios.processes import instance
from helios.processes.private import private_folder, write_private

_OF_ROOT = Path("/var/lib/helios")


def default_folder() -> Path:
    """The folder of this user: below ``XDG_DATA_HOME``, or where the system stores the data of programs."""
    if os.geteuid() == 0:
        return _OF_ROOT
    if xdg := os.environ.get("XDG_DATA_HOME"):
        return Path(xdg) / "helios"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "helios"
    return Path.home() / ".local" / "share" / "helios"


class DataFolder:
    """One data folder: ``postgres`` has the events, ``state`` the passwords, the logs and the lock.

    Only its user can read the folder. Root's Postgres runs as another user, who must be able to enter the folder, and
    can enter ``postgres`` alone.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; ``create`` creates it."""
        self.path = path.absolute()

    @property
    def postgres(self) -> Path:
        """The data folder of Postgres."""
        return self.path / "postgres"

    @property
    def state(self) -> Path:
        """The folder of everything else."""
        return self.path / "state"

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.state / "logs"

    def create(self) -> None:
        """Create the folder, for its user alone.

        Raises:
            ConfigurationError: root's Postgres could not enter the folder.
            OSError: the folder can't be created.
        """
        private_folder(self.path)
        private_folder(self.state)
        if os.geteuid() == 0:
            self.path.chmod(0o711)
            if not reachable(self.path):
                raise ConfigurationError(
                    f"Root's Postgres runs as the user nobody, who can't enter {self.path}. "
                    "Run helios serve as an ordinary user, or choose another folder with --data."
                )

    def credentials(self) -> DatabaseCredentials:
        """The passwords in the folder, which the first call creates."""
        remedy = f"Restore the file from a backup, or remove {self.path} to start with an empty database."
        return credentials.load(self.state, DatabaseCredentials, remedy=remedy)

    def publish(self, database_url: str) -> Path:
        """Write the address of the running Postgres for the other commands, and return the file."""
        write_private(self._address, f"{database_url}\n")
        return self._address

    def running_database_url(self) -> str | None:
        """The address of the Postgres of the ``helios serve`` that uses this folder now, or None."""
        try:
            if instance.running(self.state) is None:
                return None
            return self._address.read_text().strip()
        except (FileNotFoundError, PermissionError):
            return None

    @property
    def _address(self) -> Path:
        return self.state / "database-url"
