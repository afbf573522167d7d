"""Loopback ports: which are free, and which process uses one that is not."""

import errno
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

HOST = "127.0.0.1"
"""Every service listens on this address and on no other: several of them accept requests without credentials."""


class PortTaken(Exception):  # noqa: N818 - reads as the fact it is
    """The port of a service is in use; the message names the port, its setting and the process."""


def free_port() -> int:
    """A port that no process listens on, and that the system gives to no other process for a minute."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that no process listens on, and that the system gives to no other process for a minute."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [_reserve(server) for server in servers]


def _reserve(server: socket.socket) -> int:
    """The port of a listening socket, reserved for a server that is started on it within a minute.

    A port that is closed without having been used is free at once: another process that asks for any free port may get
    it before the server binds it. So this function opens one connection and closes it from the server's side. That
    leaves the port in TIME_WAIT: the system does not choose it, and a server with SO_REUSEADDR may still bind it. All
    servers of the local stack set SO_REUSEADDR.
    """
    port: int = server.getsockname()[1]
    with socket.create_connection((HOST, port)), server.accept()[0]:
        return port


def require_free(port: int, *, service: str, setting: str, host: str = HOST) -> None:
    """Return if a service may listen on this port.

    Raises:
        PortTaken: another process uses the port, or the system refuses the address.
    """
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise PortTaken(
                f"Port {port} of {host}, which {service} needs, can't be used ({error.strerror}). Choose another."
            ) from error
        holder = _holder(port) or "another process"
        raise PortTaken(
            f"Port {port}, which {service} needs, is in use by {holder}. Stop it, or set {setting} to another port."
        ) from error


def _holder(port: int) -> str | None:
    """The process that listens on the port, as ``name (process 123)``; None when it is unknown."""
    pid = _holder_by_proc(port) if sys.platform == "linux" else _holder_by_lsof(port)
    if pid is None:
        return None
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        name = "a process"
    return f"{name} (process {pid})"


def _holder_by_proc(port: int) -> int | None:
    """On Linux: find the inode of the listening socket, then the process that has it open."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            local, _remote, state, *rest = row.split()[1:]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{rest[5]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue  # another user's process, or one that just ended
    return None


def _holder_by_lsof(port: int) -> int | None:
    try:
        listing = subprocess.run(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp"],  # noqa: S607 - its path differs between systems
            capture_output=True,
            check=False,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^p(\d+)", listing.stdout)
    return int(match[1]) if match else None
