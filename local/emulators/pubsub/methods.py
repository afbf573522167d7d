"""The methods of the API: one table for gRPC and for REST."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Message = Any
"""A request or a response: a message of the client library, or raw protobuf."""


class Method(NamedTuple):
    """One method that has one request and one response.

    Attributes:
        service: ``Publisher``, ``Subscriber`` or ``SchemaService``, of the package google.pubsub.v1.
        name: its name in gRPC.
        request: the type of its request.
        verb: its verb in REST.
        path: its path in REST; ``{field=pattern}`` is a field of the request, in the notation of google.api.http.
        call: answers a request; raises ``Refused``.
        waits: whether ``call`` also takes ``remaining``: the seconds until the client gives up, None if it does not.
    """

    service: str
    name: str
    request: Any
    verb: str
    path: str
    call: Callable[..., Awaitable[Message]]
    waits: bool = False

    async def answer(self, request: Message, *, remaining: float | None) -> Message:
        """The response to a request.

        Raises:
            Refused: the request is answered with an error.
        """
        return await (self.call(request, remaining=remaining) if self.waits else self.call(request))
