"""The keys of the host, and which request shows the right one."""

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
        master: opens everything; the only key for ``/admin``.
        default: the host key: opens every HTTP function.
        event_grid: the system key ``eventgrid_extension``: opens the Event Grid webhook.
    """

    master: str
    default: str
    event_grid: str

    def __repr__(self) -> str:
        """No key is ever printed."""
        return "Keys(***)"

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The keys from ``AZURE_HOST_MASTER_KEY``, ``AZURE_HOST_DEFAULT_KEY`` and ``AZURE_HOST_EVENT_GRID_KEY``.

        Raises:
            ValueError: one is not set; an open host would hide that a caller forgot its key.
        """
        names = {field: f"{PREFIX}{field.upper()}_KEY" for field in cls.__struct_fields__}
        if missing := [name for name in names.values() if not environ.get(name)]:
            raise ValueError(f"set {' and '.join(missing)}: the keys that callers must show")
        return cls(**{field: environ[name] for field, name in names.items()})


def shows(request: web.Request, *accepted: str) -> bool:
    """Whether the request carries one of these keys, as the header or else in the query."""
    shown = request.headers.get(KEY_HEADER) or request.query.get(KEY_QUERY) or ""
    return any(hmac.compare_digest(shown.encode(), key.encode()) for key in accepted)
