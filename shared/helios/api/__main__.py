"""``python -m helios.api``: serves the API with uvicorn. The settings come from the environment."""

import argparse
import ctypes
import socket
from functools import partial
from typing import Any, Final

import uvicorn

from helios.api import create_app

_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 128 * 1024


def _return_large_blocks() -> None:
    """Make glibc return every large block to the system as soon as it is freed.

    By default glibc keeps blocks of the sizes that it has seen (mallopt(3), M_MMAP_THRESHOLD): after a flood of large
    bodies the process would stay as large as the flood has made it. Other C libraries have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m helios.api", description="Serve the API of Helios.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8001, help="the port to listen on (%(default)s)")
    parser.add_argument(
        "--share-port", action="store_true", help="let other processes with this option serve the same address"
    )
    parser.add_argument("--reload", action="store_true", help="start again when a file is saved")
    parser.add_argument("--reload-dir", metavar="FOLDER", help="the folder to watch for --reload")
    options = parser.parse_args()
    _return_large_blocks()
    serve: dict[str, Any] = {
        "app": "helios.api:create_app",
        "factory": True,
        "host": options.host,
        "port": options.port,
        "loop": "uvloop",
        "http": "helios.api.server:DeadlineProtocol",
        "access_log": False,
    }
    if options.share_port:
        serve["app"] = partial(create_app, is_one_of_several=True)
        uvicorn.Server(uvicorn.Config(**serve)).run(sockets=[_shared_socket(options.host, options.port)])
    else:
        uvicorn.run(**serve, reload=options.reload, reload_dirs=options.reload_dir)


def _shared_socket(host: str, port: int) -> socket.socket:
    """A socket on an address that other processes of this user may bind too.

    It does not listen yet: Linux divides new connections between the sockets that do, and uvicorn begins when the
    application is ready. A socket that all processes inherit would divide them badly, because the first process to wake
    accepts every connection that waits.
    """
    ((family, _, _, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    shared = socket.socket(family, socket.SOCK_STREAM)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind(address)
    return shared


if __name__ == "__main__":
    main()
