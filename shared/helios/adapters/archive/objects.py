"""Whole files in a local folder, S3, Google Cloud Storage or Azure Blob Storage, by URL."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from helios.errors import ConfigurationError, Retryable

SCHEMES = ("file", "s3", "gs", "az")

TIMEOUT = "300s"
"""The longest time for one request; obstore repeats a request that failed."""


def open_store(
    url: str, *, credentials: Mapping[str, str] | None = None, request_seconds: float | None = None
) -> ObjectStore:
    """The store behind a URL; credentials come from the environment, as the cloud's own tools read them.

    obstore reads them (AWS_*, GOOGLE_*, AZURE_*, workload identity, instance metadata). DuckDB's httpfs knows no
    workload identity on Google Cloud.

    Args:
        url: ``file:///folder`` or a path, ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``.
        credentials: variables as in the environment, over which they take precedence.
        request_seconds: the longest time for a request, and the time after which it is not repeated.

    Raises:
        ConfigurationError: the URL or a credential in the environment is wrong.
    """
    scheme = urlsplit(url).scheme
    try:
        if not scheme:
            return LocalStore(Path(url).absolute(), mkdir=True)
        if scheme not in SCHEMES:
            raise ConfigurationError(f"HELIOS_ARCHIVE_URL: {scheme}:// is not one of {', '.join(SCHEMES)}, or a path")
        if scheme == "file":
            return from_url(url, mkdir=True)
        # The endpoint decides: the clouds' are HTTPS, and a compatible store in a private network may not be.
        config = {name.lower(): value for name, value in (credentials or {}).items()}
        if request_seconds is None:
            limits: dict[str, Any] = {"client_options": {"timeout": TIMEOUT, "allow_http": True}}
        else:
            limit = timedelta(seconds=request_seconds)
            limits = {
                "client_options": {"timeout": limit, "connect_timeout": limit, "allow_http": True},
                "retry_config": {"retry_timeout": limit},
            }
        return from_url(url, config=config, **limits)  # type: ignore[call-overload, no-any-return]  # keys by cloud
    except (BaseError, OSError, ValueError) as error:
        raise ConfigurationError(f"HELIOS_ARCHIVE_URL: {url}: {_first_line(error)}") from error


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the errors of the object store.

    Raises:
        Retryable: any of them.
    """
    try:
        yield
    except (BaseError, OSError) as error:
        raise Retryable(f"Archive: {_first_line(error)}") from error


class Objects:
    """Implements ``ObjectStore``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, path: str, file: Path) -> None:
        """Store a file in one request: an interrupted one leaves no part of a file behind."""
        with translate_errors():
            obstore.put(self._store, path, file, use_multipart=False)

    def fetch(self, path: str, target: Path) -> str | None:
        """Copy a file to this machine, and return its SHA-256; None if it does not exist."""
        digest = hashlib.sha256()
        with translate_errors():
            try:
                result = obstore.get(self._store, path)
            except FileNotFoundError:
                return None
            with target.open("wb") as copy:
                for chunk in result:
                    digest.update(chunk)
                    copy.write(chunk)
        return digest.hexdigest()

    def delete(self, path: str) -> None:
        """Remove a file, if it exists."""
        with translate_errors():
            try:
                obstore.delete(self._store, path)
            except FileNotFoundError:
                return

    def paths(self) -> set[str]:
        """Every file of the archive."""
        with translate_errors():
            return {item["path"] for page in obstore.list(self._store) for item in page}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
