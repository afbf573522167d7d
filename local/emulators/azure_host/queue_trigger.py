"""Queue triggers: take messages from a storage queue, run the function for each, and delete those that succeeded.

The rules are those of Microsoft's "Azure Queue storage trigger for Azure Functions": a failed message becomes visible
again after ``visibilityTimeout``, and after ``maxDequeueCount`` attempts it is moved to the queue ``NAME-poison``.
"""

import asyncio
import contextlib
import logging
import os
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.queue import BinaryBase64DecodePolicy, BinaryBase64EncodePolicy, QueueMessage
from azure.storage.queue.aio import QueueClient

from local.emulators.azure_host.function_app import Function
from local.emulators.azure_host.host_json import Queues
from local.emulators.azure_host.invocation import Invoker

_HIDDEN_SECONDS = 600
"""How long a message is invisible while its function runs, as in the real host; longer than any function may run."""

_SHORTEST_POLL_SECONDS = 0.1

log = logging.getLogger("helios.local.azure_host")


class QueueTrigger:
    """A function with a queue trigger, and the queue that it listens to.

    Attributes:
        function: the function.
        queue_name: the name of the queue.
    """

    def __init__(self, function: Function, invoker: Invoker, settings: Queues) -> None:
        """Read the name of the queue, and the connection string in the setting that the trigger names."""
        self.function = function
        self.queue_name = str(function.settings["queueName"])
        self._invoker = invoker
        self._settings = settings
        self._setting = str(function.settings.get("connection") or "AzureWebJobsStorage")
        self._connection = os.environ.get(self._setting)

    async def run(self) -> None:
        """Take messages until cancelled. Without a connection, only this function does not listen, as in the cloud."""
        if not self._connection:
            log.warning(
                "the listener was unable to start: its connection is not set",
                extra={"function": self.function.name, "setting": self._setting},
            )
            return
        async with (
            self._client(self.queue_name) as queue,
            self._client(f"{self.queue_name}-poison") as poison,
            asyncio.TaskGroup() as running,
        ):
            await self._listen(queue, poison, running)

    async def _listen(self, queue: QueueClient, poison: QueueClient, running: asyncio.TaskGroup) -> None:
        """Receive messages while few are being processed; the pause doubles while the queue is empty."""
        active = 0
        pause = _SHORTEST_POLL_SECONDS

        async def process(message: QueueMessage) -> None:
            nonlocal active
            try:
                await self._process(message, queue, poison)
            finally:
                active -= 1

        while True:
            received = await self._receive(queue) if active <= self._settings.new_batch_threshold else []
            active += len(received)
            for message in received:
                running.create_task(process(message))
            longest = Queues.seconds(self._settings.max_polling_interval)
            pause = _SHORTEST_POLL_SECONDS if received or active else min(2 * pause, longest)
            await asyncio.sleep(pause)

    async def invoke(self, text: str) -> bool:
        """Run the function on demand with this message; whether it succeeded."""
        return await self._succeeds(text.encode(), {"Id": "", "PopReceipt": ""}, dequeue_count=1)

    def _client(self, name: str) -> QueueClient:
        encoded = self._settings.message_encoding == "base64"
        return QueueClient.from_connection_string(
            self._connection or "",
            name,
            message_encode_policy=BinaryBase64EncodePolicy() if encoded else None,
            message_decode_policy=BinaryBase64DecodePolicy() if encoded else None,
        )

    async def _receive(self, queue: QueueClient) -> list[QueueMessage]:
        size = self._settings.batch_size
        pages = queue.receive_messages(messages_per_page=size, max_messages=size, visibility_timeout=_HIDDEN_SECONDS)
        try:
            return [message async for message in pages]
        except ResourceNotFoundError:  # the queue may be created later, and is empty until then
            return []
        except AzureError as error:
            log.error("the queue can't be read", extra={"queue": self.queue_name, "error": str(error)})
            return []

    async def _process(self, message: QueueMessage, queue: QueueClient, poison: QueueClient) -> None:
        """Run the function with the message. Without an answer of the queue, the message becomes visible again."""
        content = message.content if isinstance(message.content, bytes) else str(message.content).encode()
        identity = {"Id": message.id, "PopReceipt": message.pop_receipt}
        try:
            if await self._succeeds(content, identity, dequeue_count=message.dequeue_count or 1):
                await queue.delete_message(message)
            elif (message.dequeue_count or 1) < self._settings.max_dequeue_count:
                seconds = Queues.seconds(self._settings.visibility_timeout)
                await queue.update_message(message, visibility_timeout=seconds)
            else:
                log.error("Message has reached MaxDequeueCount", extra={"queue": poison.queue_name, **identity})
                with contextlib.suppress(ResourceExistsError):
                    await poison.create_queue()
                await poison.send_message(message.content)
                await queue.delete_message(message)
        except AzureError as error:
            log.error("the queue can't be written", extra={"queue": self.queue_name, "error": str(error)})

    async def _succeeds(self, content: bytes, identity: dict[str, Any], *, dequeue_count: int) -> bool:
        metadata = {name: Datum(str(value), "string") for name, value in identity.items()}
        metadata["DequeueCount"] = Datum(str(dequeue_count), "json")
        result = await self._invoker.invoke(self.function, Datum(content, "bytes"), metadata)
        return result.error is None
