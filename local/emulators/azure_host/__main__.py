"""``python -m local.emulators.azure_host functions/azure --port 7071``: host a folder's FunctionApp."""

import argparse
import logging
import sys
from pathlib import Path

from aiohttp import web

from helios import logs
from helios.processes.ports import HOST
from local.emulators.azure_host import function_app, host_json
from local.emulators.azure_host.errors import NotHostable
from local.emulators.azure_host.keys import Keys
from local.emulators.azure_host.server import application
from local.stack import request_filter
from local.stack.request_filter import RequestFilter

log = logging.getLogger("helios.local.azure_host")


def main() -> int:
    """Read the command line and serve; returns 1 when the app can't be hosted."""
    parser = argparse.ArgumentParser(
        prog="python -m local.emulators.azure_host", description="Host Azure Functions locally."
    )
    parser.add_argument("folder", type=Path, help="folder of function_app.py and host.json")
    parser.add_argument("--port", type=int, required=True, help="the port to listen on")
    parser.add_argument(
        "--host", default=HOST, help="the address to listen on (default %(default)s: this machine only)"
    )
    request_filter.add_option(parser)
    options = parser.parse_args()
    logs.configure("INFO")
    folder = options.folder.absolute()
    try:
        access = Keys.load()
        host, without_effect = host_json.load(folder)
        app = application(function_app.load(folder), host, access, RequestFilter(hosts=request_filter.hosts(options)))
    except (NotHostable, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if without_effect:
        log.info("settings of host.json that have no effect here", extra={"settings": without_effect})
    web.run_app(app, host=options.host, port=options.port, print=None, access_log=None, shutdown_timeout=5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
