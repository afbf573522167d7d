"""Who may ask for what: a bearer token of ours, or a person's of an OpenID provider."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from helios.api.entrance import is_local
from helios.guards.base import Refused
from helios.guards.oidc import BearerToken
from helios.ports import RateLimit, Tickets, Tokens
from helios.tokens import PREFIX, SCOPES, Scope, Token, digest, opens

CACHE_SECONDS = 10.0
"""How long a token may go on opening after it was revoked, so that not each question costs one to the database."""

CLAIM_PREFIX = "helios."
"""What a provider calls our scopes: ``helios.read`` in the claim ``scope`` or ``roles`` (RFC 9068, section 2.2.3)."""

Count = Callable[[str], None]
"""Counts an admission: ``admitted``, ``loopback``, or the code of a refusal."""

_bearer = HTTPBearer(auto_error=False, description="A token of `python -m helios tokens create`")


class Caller(NamedTuple):
    """Who asks, and what that opens."""

    name: str
    scopes: tuple[Scope, ...]


LOCAL = Caller("local", SCOPES)
"""Who asks on the machine itself, where nobody has to say who they are."""

Needs = Callable[..., Awaitable[Caller]]
"""A dependency of FastAPI."""


class Access:
    """Says of every question who asks it, or refuses."""

    def __init__(
        self,
        tokens: Tokens,
        tickets: Tickets | None,
        *,
        people: BearerToken | None,
        loopback: bool,
        limit: RateLimit,
        count: Count,
    ) -> None:
        """Take where proofs are kept.

        Args:
            tokens: ours.
            tickets: for WebSockets; None: there is no Redis to keep them in.
            people: reads the tokens of an OpenID provider; None: there is none.
            loopback: whether who asks on this machine needs no proof.
            limit: how often one caller may ask, and how often one address may show an unknown token.
            count: told of each admission.
        """
        self._tokens = tokens
        self._tickets = tickets
        self._people = people
        self._loopback = loopback
        self._limit = limit
        self._count = count
        self._known: dict[str, tuple[Token, float]] = {}

    def needs(self, scope: Scope) -> Needs:
        """The dependency of a route that takes this scope; it gives the ``Caller``.

        Raises:
            Refused: whoever asks may not.
            Retryable: that can't be known now.
        """

        async def check(
            request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
        ) -> Caller:
            try:
                caller = await self._caller(request, given.credentials if given else None, scope)
            except Refused as error:
                self._count(error.code)
                raise
            self._count("loopback" if caller is LOCAL else "admitted")
            return caller

        return check

    async def may_watch(self, socket: HTTPConnection) -> bool:
        """Whether a WebSocket may be opened: with a ticket, or from this machine without one.

        Raises:
            Retryable: that can't be known now.
        """
        ticket = socket.query_params.get("ticket")
        if ticket is None:
            return self._loopback and is_local(socket)
        return self._tickets is not None and await run_in_threadpool(self._tickets.redeem, ticket) is not None

    async def _caller(self, request: Request, proof: str | None, scope: Scope) -> Caller:
        if proof is None:
            if self._loopback and is_local(request):
                return LOCAL
            raise Refused("this takes a token: send `Authorization: Bearer`", code="missing")
        if proof.startswith(PREFIX):
            caller = await self._of_token(request, proof)
        elif self._people:
            caller = _person(await run_in_threadpool(self._people.claims, proof))
        else:
            raise Refused("this is no token of Helios", code="malformed")
        if not opens(caller.scopes, scope):
            raise Refused(f"this takes a token with the scope {scope}", status=403, code="scope")
        await self._slow_down(f"caller {caller.name}")
        return caller

    async def _of_token(self, request: Request, proof: str) -> Caller:
        key, now = digest(proof), datetime.now(UTC)
        token, until = self._known.get(key, (None, 0.0))
        if token is None or time.monotonic() >= until:
            # An unknown token costs the database a question: an address gets so many, and no more.
            await self._slow_down(f"address {request.client.host if request.client else ''}")
            token = await run_in_threadpool(self._tokens.use, key, now)
            if token is None:
                raise Refused("there is no such token", code="unknown")
            self._known[key] = (token, time.monotonic() + CACHE_SECONDS)
        if not token.is_valid(now):
            code = "revoked" if token.revoked_at else "expired"
            raise Refused(f"this token is {code}", code=code)
        return Caller(token.name, token.scopes)

    async def _slow_down(self, who: str) -> None:
        if wait := await run_in_threadpool(self._limit.wait_seconds, who):
            reason = f"that is too often: come again in {wait} s"
            raise Refused(reason, status=429, code="too_often", retry_after_seconds=wait)


def _person(claims: Mapping[str, Any]) -> Caller:
    """Who a provider's token is of; its scopes are ours where they carry our prefix."""
    said = claims.get("scope", ""), claims.get("roles", ())
    named = [*(said[0].split() if isinstance(said[0], str) else ()), *(said[1] if isinstance(said[1], list) else ())]
    scopes = tuple(scope for scope in SCOPES if f"{CLAIM_PREFIX}{scope}" in named)
    name = next((claims[key] for key in ("email", "preferred_username", "sub") if claims.get(key)), "")
    return Caller(str(name), scopes)
