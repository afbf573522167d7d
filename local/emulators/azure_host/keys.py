"""The keys of the host, and the check that a request has one of them."""

import hmac
import os
from collections.abc import Mapping
from typing import Self

import msgspec
from aiohttp import web

KEY_HEADER = "x-functions-key"
KEY_QUERY = "code"

PREFIX = "AZURE_HOST_"


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Microsoft's "Work with access keys in Azure Functions".

    Attributes:
        master: the key for everything; the only key for ``/admin``.
        default: the host key, for every HTTP function.
        event_grid: the system key ``eventgrid_extension``, for the Event Grid webhook.
    """

    master: str
    default: str
    event_grid: str

    def __repr__(self) -> str:
        """A text without the keys."""
        return "Keys(***)"

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The keys from ``AZURE_HOST_MASTER_KEY``, ``AZURE_HOST_DEFAULT_KEY`` and ``AZURE_HOST_EVENT_GRID_KEY``.

        Raises:
            ValueError: one is not set; a host without keys would hide that a caller sends none.
        """
        names = {field: f"{PREFIX}{field.upper()}_KEY" for field in cls.__struct_fields__}
        if missing := [name for name in names.values() if not environ.get(name)]:
            raise ValueError(f"Set {' and '.join(missing)}. Callers must send these keys.")
        return cls(**{field: environ[name] for field, name in names.items()})


def has_key(request: web.Request, *accepted: str) -> bool:
    """Whether the request has one of these keys, in the header or else in the query."""
    key = request.headers.get(KEY_HEADER) or request.query.get(KEY_QUERY) or ""
    return any(hmac.compare_digest(key.encode(), expected.encode()) for expected in accepted)
