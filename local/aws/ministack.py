"""AWS on this machine, by ministack: the one module that knows how that emulator wants to be run.

What it is good for and where it differs from AWS, as far as Helios can tell: batches from SQS hold 10 messages at
most and the batching window is ignored; a function that writes no log line costs 50 ms a call; limits of size are not
enforced; queues and logs live in memory and end with the process.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from local.stack import reaper
from local.stack.config import AWS_ACCOUNT, AWS_REGION
from local.stack.ports import HOST
from local.stack.probes import answers
from local.stack.server import Server

_LOCK = Path(__file__).with_name("ministack.lock")
_INSTALL_SECONDS = 300
_START_SECONDS = 60


def workers(pid: int) -> list[int]:
    """The processes in which the ministack of this id runs functions now; only Linux tells."""
    return [one for one in reaper.descendants(pid) if _runs_a_function(one)]


class Ministack(Server):
    """One ministack process and the functions it runs."""

    def __init__(self, folder: Path, port: int, *, log: Path) -> None:
        """Describe it; nothing is installed or started yet.

        Args:
            folder: holds its virtual environment and its temporary files.
            port: where to listen.
            log: its log file; the functions' lines are in it too.
        """
        self.port = port
        self._venv = folder.absolute() / "ministack-venv"
        self._scratch = folder.absolute() / "ministack-tmp"
        self._log = log

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{HOST}:{self.port}"

    def install(self) -> None:
        """Install it, hash-pinned, into an environment of its own; does nothing when that is up to date.

        Its site-packages are visible to the functions it runs, so they must not be Helios' own: a function would
        find there what its package lacks.

        Raises:
            ServiceFailed: the installation failed.
        """
        stamp = self._venv / ".lock"
        wanted = f"{sys.version}\n{_LOCK.read_text()}"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        python = self._venv / "bin/python"
        uv = Path(sysconfig.get_path("scripts")) / "uv"
        steps: list[list[str | Path]] = [
            ["venv", "--clear", "--python", sys.executable, self._venv],
            ["pip", "install", "--python", python, "--require-hashes", "--no-deps", "--requirement", _LOCK],
        ]
        for step in steps:
            command = [uv, "--quiet", *step]
            self._launch("installing ministack", command, log=self._log, env=os.environ).finish(
                seconds=_INSTALL_SECONDS
            )
        stamp.write_text(wanted)

    def start(self) -> None:
        """Start it, empty."""
        self.install()
        shutil.rmtree(self._scratch, ignore_errors=True)  # the code of functions of an earlier, killed run
        self._scratch.mkdir(parents=True)
        process = self._launch(
            "ministack",
            [self._venv / "bin/python", "-m", "ministack"],
            log=self._log,
            env=self._environment(),
            cwd=self._scratch,
        )
        process.wait_ready(answers(f"{self.url}/_ministack/health"), seconds=_START_SECONDS)

    def stop(self) -> None:
        """End it. It has nothing to save, and takes four seconds to end by itself, so it is not asked."""
        if self.process:
            self.process.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        """The whole environment, since all of it leaks into the functions: nothing of the developer's may be in it."""
        scratch = str(self._scratch)
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": scratch,  # no ~/.aws
            "TMPDIR": scratch,
            "LANG": "C.UTF-8",
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": HOST,  # what queue URLs name
            "MINISTACK_ACCOUNT_ID": AWS_ACCOUNT,
            "MINISTACK_REGION": AWS_REGION,
            "IOT_MTLS_ENABLED": "0",  # else it listens on 8883, on every address
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "0",  # its event log is never trimmed
            "LAMBDA_EXECUTOR": "local",
            "DOCKER_HOST": f"unix://{scratch}/no-docker",  # leave the developer's containers alone
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _runs_a_function(pid: int) -> bool:
    try:
        return b"AWS_LAMBDA_FUNCTION_NAME=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
