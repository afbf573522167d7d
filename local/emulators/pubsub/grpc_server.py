"""The API over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from google.pubsub_v1 import types

from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.errors import Refused
from local.emulators.pubsub.methods import Message, Method
from local.emulators.pubsub.streaming import streaming_pull

PACKAGE = "google.pubsub.v1"

Context = Any
"""A grpc.aio.ServicerContext; the library has no types."""


def handlers(broker: Broker, methods: Sequence[Method]) -> list[grpc.GenericRpcHandler]:
    """The handlers of all methods, and of StreamingPull, for a gRPC server."""
    by_service: dict[str, dict[str, Any]] = {}
    for method in methods:
        by_service.setdefault(method.service, {})[method.name] = grpc.unary_unary_rpc_method_handler(
            _unary(method), request_deserializer=method.request.deserialize, response_serializer=_serialize
        )
    by_service["Subscriber"]["StreamingPull"] = grpc.stream_stream_rpc_method_handler(
        _streaming(broker),
        request_deserializer=types.StreamingPullRequest.deserialize,
        response_serializer=_serialize,
    )
    return [
        grpc.method_handlers_generic_handler(f"{PACKAGE}.{service}", calls) for service, calls in by_service.items()
    ]


def _unary(method: Method) -> Callable[..., Any]:
    async def answer(request: Message, context: Context) -> Message:
        try:
            return await method.answer(request, remaining=context.time_remaining())
        except Refused as refused:
            await context.abort(refused.code, refused.message)

    return answer


def _streaming(broker: Broker) -> Callable[..., Any]:
    async def answer(requests: AsyncIterator[Any], context: Context) -> None:
        try:
            async with aclosing(streaming_pull(broker, requests)) as responses:
                async for response in responses:
                    await context.write(response)
        except Refused as refused:
            await context.abort(refused.code, refused.message)
        except grpc.aio.InternalError as error:
            # The client left before it had read a response, whose messages are delivered again. gRPC must send no
            # status: it would fail too, and log a stack.
            raise asyncio.CancelledError("the client left") from error

    return answer


def _serialize(message: Message) -> bytes:
    """The bytes of a message of the client library or in raw protobuf."""
    raw = type(message).pb(message) if hasattr(type(message), "pb") else message
    content: bytes = raw.SerializeToString()
    return content
