"""The passwords of the servers in one data folder: random, and stored in that folder for its user alone."""

import fcntl
import os
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from helios.errors import ConfigurationError
from helios.processes.private import append_private, private_folder

FILE = "credentials.json"

C = TypeVar("C", bound="DatabaseCredentials")


def random_password() -> str:
    """192 random bits, without a character that a URL escapes."""
    return secrets.token_urlsafe(24)


class DatabaseCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """The passwords of Postgres and Valkey.

    Attributes:
        postgres_superuser: password of the role that administers Postgres.
        postgres: password of the role that owns Helios' database.
        valkey: password of Valkey.
    """

    postgres_superuser: str = msgspec.field(default_factory=random_password)
    postgres: str = msgspec.field(default_factory=random_password)
    valkey: str = msgspec.field(default_factory=random_password)

    def __repr__(self) -> str:
        """A text without the values."""
        return f"{type(self).__name__}(***)"


def load(folder: Path, type_: type[C], *, remedy: str) -> C:
    """The credentials in this folder; the first call creates them.

    Later runs use the same ones, as the data of Postgres outlive a run.

    Args:
        folder: created when missing; only its user may enter it.
        type_: which credentials.
        remedy: what the user can do when the file is damaged, as a sentence.

    Raises:
        ConfigurationError: the file can't be read.
    """
    path = private_folder(folder) / FILE
    with append_private(path) as file:
        os.fchmod(file.fileno(), 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)  # two processes create one set
        content = path.read_bytes()
        try:
            credentials = msgspec.json.decode(content or b"{}", type=type_)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{path} can't be read ({error}). {remedy}") from error
        complete = msgspec.json.encode(credentials)
        if complete != content:
            file.truncate(0)
            file.write(complete)
    return credentials
