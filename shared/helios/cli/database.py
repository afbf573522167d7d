"""Which database the commands use that read and write it themselves."""

import os
from collections.abc import Sequence

from helios import bootstrap
from helios.embedded.data_folder import DataFolder, default_folder
from helios.settings import Settings, variable

DATABASE_SETTINGS = (variable("database_url"), variable("secret_id"))
"""The settings that name a database."""


def is_configured() -> bool:
    """Whether the environment names a database."""
    return any(os.environ.get(name) for name in DATABASE_SETTINGS)


def configure(*, require: Sequence[str] = ()) -> Settings:
    """The settings of this process; without a database, that of the ``helios serve`` that runs in the default folder.

    Args:
        require: optional settings that this process needs.

    Raises:
        ConfigurationError: a setting is missing or has the wrong form, and no ``helios serve`` runs.
        Retryable: the secret in HELIOS_SECRET_ID can't be read now.
    """
    environ = dict(os.environ)
    if not is_configured() and (url := DataFolder(default_folder()).running_database_url()):
        environ[variable("database_url")] = url
    return bootstrap.configure(environ, require=require)
