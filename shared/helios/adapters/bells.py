"""Bells: over HTTPS from another cloud, and several at once."""

import urllib.error
import urllib.request
from collections.abc import Sequence

from helios.errors import Retryable
from helios.ports import Bell

TIMEOUT_SECONDS = 2.0


class HttpBell:
    """Keeps ``Bell`` with a POST to Helios' API, from a cloud where the relay does not run."""

    def __init__(self, url: str, secret: str) -> None:
        """Ring there.

        Args:
            url: ``https://.../api/v1/relay/ring``.
            secret: what the API asks for.
        """
        self._request = urllib.request.Request(  # noqa: S310 - the URL is a setting
            url, method="POST", headers={"Authorization": f"Bearer {secret}"}
        )

    def ring(self) -> None:
        """Ask the API to ring."""
        try:
            with urllib.request.urlopen(self._request, timeout=TIMEOUT_SECONDS):  # noqa: S310 - as above
                pass
        except (OSError, urllib.error.HTTPError) as error:
            raise Retryable(f"{self._request.full_url}: {error}") from error


class Bells:
    """Keeps ``Bell`` with several: each is rung, whatever became of the one before."""

    def __init__(self, bells: Sequence[Bell]) -> None:
        self._bells = bells

    def ring(self) -> None:
        """Ring all."""
        failures = []
        for bell in self._bells:
            try:
                bell.ring()
            except Retryable as error:
                failures.append(str(error))
        if failures:
            raise Retryable("; ".join(failures))
