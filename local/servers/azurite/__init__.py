"""Azure's storage on this machine: installs and runs Microsoft's emulator Azurite, with blobs and queues.

npm installs the locked version when it is first needed. Azurite has one account with a key that Microsoft publishes, so
its data must not be secret.
"""

import subprocess
from pathlib import Path

from helios.processes.ports import HOST
from helios.processes.probes import accepts
from helios.processes.process import ServiceFailed
from helios.processes.server import Server
from scripts.build.tools import install_npm

_START_SECONDS = 60

ACCOUNT = "devstoreaccount1"
KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"  # pragma: allowlist secret
    "K1SZFPTOtr/KBHBeksoGMGw=="  # pragma: allowlist secret
)
"""Microsoft's "Use the Azurite emulator", "Well-known storage account and key"."""


class Azurite(Server):
    """One Azurite process. It holds its data in memory."""

    def __init__(self, blob_port: int, queue_port: int, *, log: Path) -> None:
        """Describe the emulator; ``start`` installs and starts it.

        Args:
            blob_port: the port of the blob service.
            queue_port: the port of the queue service.
            log: its log file.
        """
        self._blob_port = blob_port
        self._queue_port = queue_port
        self._log = log

    @property
    def connection_string(self) -> str:
        """The connection string of the account."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://{HOST}:{self._blob_port}/{ACCOUNT};"
            f"QueueEndpoint=http://{HOST}:{self._queue_port}/{ACCOUNT};"
        )

    def start(self) -> None:
        """Start the emulator without containers and queues.

        Raises:
            ServiceFailed: it can't be installed, or does not answer.
        """
        programs = install()
        services = {"blob": self._blob_port, "queue": self._queue_port, "table": 0}
        process = self._launch(
            "azurite",
            [
                *("node", programs / "azurite/dist/src/azurite.js"),
                *("--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"),
                *(f"--{name}Host={HOST}" for name in services),
                *(f"--{name}Port={port}" for name, port in services.items()),
            ],
            log=self._log,
        )
        for port in (self._blob_port, self._queue_port):
            process.wait_ready(accepts(port), seconds=_START_SECONDS)

    def stop(self) -> None:
        """End the process, and its data with it."""
        if self.process:
            self.process.stop()


def install() -> Path:
    """The folder of the installed packages. npm installs them if they are missing or out of date.

    Raises:
        ServiceFailed: npm is missing, or failed.
    """
    try:
        return install_npm(Path(__file__).parent)
    except FileNotFoundError as error:
        raise ServiceFailed("Azurite needs npm, which is not installed") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = str(error.stderr or error).strip()
        raise ServiceFailed(f"npm could not install Azurite: {reason[-500:]}") from error
