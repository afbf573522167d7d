"""AWS on this machine: installs and runs the emulator ministack.

Where ministack differs from AWS in ways that affect Helios: batches from SQS have at most 10 messages, and the batching
window is ignored; each call of a function that writes no log line takes 50 ms longer; size limits are not enforced;
queues and logs are in memory and end with the process.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from helios.processes import reaper
from helios.processes.ports import HOST
from helios.processes.probes import answers
from helios.processes.server import Server
from local.stack.config import AWS_ACCOUNT, AWS_REGION

_LOCK = Path(__file__).with_name("ministack.lock")
_PROGRAM = Path(__file__).resolve().with_name("run_ministack.py")
_INSTALL_SECONDS = 300
_START_SECONDS = 60


def workers(pid: int) -> list[int]:
    """The ids of the processes in which this ministack process runs functions; empty on systems other than Linux."""
    return [child for child in reaper.descendants(pid) if _runs_a_function(child)]


class Ministack(Server):
    """One ministack process and the functions it runs."""

    def __init__(self, folder: Path, port: int, *, log: Path, origins: Sequence[str] = ()) -> None:
        """Describe the emulator; ``start`` installs and starts it.

        Args:
            folder: the folder of its virtual environment and its temporary files.
            port: the port to listen on.
            log: its log file, which also receives the functions' log lines.
            origins: the origins whose web pages may send requests; requests of all other pages are refused.
        """
        self.port = port
        self._venv = folder.absolute() / "ministack-venv"
        self._scratch = folder.absolute() / "ministack-tmp"
        self._log = log
        self._origins = tuple(origins)

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{HOST}:{self.port}"

    def install(self) -> None:
        """Install ministack, hash-pinned, into its own virtual environment unless that is up to date.

        Functions can import from the site-packages of ministack, so these must not be those of Helios: a function
        would find there the modules that its package lacks.

        Raises:
            ServiceFailed: the installation failed.
        """
        stamp = self._venv / ".lock"
        version = f"{sys.version}\n{_LOCK.read_text()}"
        if stamp.exists() and stamp.read_text() == version:
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
        stamp.write_text(version)

    def start(self) -> None:
        """Start the emulator without any resources."""
        self.install()
        shutil.rmtree(self._scratch, ignore_errors=True)  # function code left by an earlier, killed run
        self._scratch.mkdir(parents=True)
        process = self._launch(
            "ministack",
            [self._venv / "bin/python", "-I", _PROGRAM, *(f"--origin={origin}" for origin in self._origins)],
            log=self._log,
            env=self._environment(),
            cwd=self._scratch,
        )
        process.wait_ready(answers(f"{self.url}/_ministack/health"), seconds=_START_SECONDS)

    def stop(self) -> None:
        """Kill the emulator: it has nothing to save, and an orderly shutdown takes four seconds."""
        if self.process:
            self.process.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        """The whole environment of the process. The functions inherit it, so it has no variable of the user's shell."""
        scratch = str(self._scratch)
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": scratch,  # no ~/.aws
            "TMPDIR": scratch,
            "LANG": "C.UTF-8",
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": HOST,  # the host in queue URLs
            "MINISTACK_ACCOUNT_ID": AWS_ACCOUNT,
            "MINISTACK_REGION": AWS_REGION,
            "IOT_MTLS_ENABLED": "0",  # otherwise it listens on port 8883 of every address
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "0",  # the emulator never trims its persistent event log
            "LAMBDA_EXECUTOR": "local",
            "DOCKER_HOST": f"unix://{scratch}/no-docker",  # no access to the user's containers
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _runs_a_function(pid: int) -> bool:
    try:
        return b"AWS_LAMBDA_FUNCTION_NAME=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
