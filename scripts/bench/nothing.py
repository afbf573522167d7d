"""A server that does nothing: what a client could reach on this machine if Helios took no time."""

from starlette.types import Receive, Scope, Send

ANSWER = b'{"status":"stored"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, and answer as a webhook does; a GET is answered 200."""
    while (await receive()).get("more_body"):
        pass
    status = 202 if scope["method"] == "POST" else 200
    await send({"type": "http.response.start", "status": status, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
