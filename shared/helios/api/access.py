"""Who may ask for what: a bearer token of ours, or a person's of an OpenID provider."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from helios.api.webhook_receiver import is_local
from helios.auth.authenticator import Refused
from helios.auth.oidc import BearerToken
from helios.errors import Retryable
from helios.model.tokens import PREFIX, SCOPES, Scope, Token, digest, grants
from helios.ports.access import RateLimit, Tickets, Tokens

CACHE_SECONDS = 10.0
"""How long a token may go on opening after it was revoked, so that not each question costs one to the database."""

MAX_PEOPLE = 4096
"""How many of a provider's tokens are remembered, as digests, as having been true once."""

CLAIM_PREFIX = "helios."
"""What a provider calls our scopes: ``helios.read`` in the claim ``scope`` or ``roles`` (RFC 9068, section 2.2.3)."""

Count = Callable[[str, str], None]
"""By ``token`` or ``ticket``: ``admitted``, ``loopback``, ``undecided`` or the refusal's code."""

TAKES_A_TICKET = "this takes ?ticket= of POST /api/v1/ws/tickets"

T = TypeVar("T")

_bearer = HTTPBearer(auto_error=False, description="A token of `python -m helios tokens create`")


class Caller(NamedTuple):
    """Who asks, and what that opens.

    The name says who vouches for it: ``token:grafana`` is a token's, ``oidc:7f3a`` a provider's subject.
    """

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
        origin: str,
        limit: RateLimit,
        count: Count,
    ) -> None:
        """Take where proofs are kept.

        Args:
            tokens: ours.
            tickets: for WebSockets; None: there is no Redis to keep them in.
            people: reads the tokens of an OpenID provider; None: there is none.
            loopback: whether who asks on this machine needs no proof.
            origin: the only web page that may open a WebSocket.
            limit: how often one caller may ask, and how often one address may be wrong.
            count: told of each admission.
        """
        self._tokens = tokens
        self._tickets = tickets
        self._people = people
        self._loopback = loopback
        self._origin = origin
        self._limit = limit
        self._count = count
        self._known: dict[str, tuple[Token, float]] = {}
        self._people_seen: set[str] = set()

    def needs(self, scope: Scope) -> Needs:
        """The dependency of a route that takes this scope; it gives the ``Caller``.

        Raises:
            Refused: whoever asks may not.
            Retryable: that can't be known now.
        """

        async def check(
            request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
        ) -> Caller:
            with self._counting("token") as admit:
                caller = await self._caller(request, given.credentials if given else None, scope)
                admit("loopback" if caller is LOCAL else "admitted")
                return caller

        return check

    async def may_watch(self, socket: HTTPConnection) -> None:
        """Let a WebSocket be opened: with a ticket, or from this machine without one.

        Raises:
            Refused: it may not.
            Retryable: that can't be known now.
        """
        with self._counting("ticket") as admit:
            origin = socket.headers.get("origin", self._origin)
            if origin != self._origin:
                raise Refused("this origin may not watch: see HELIOS_DASHBOARD_ORIGIN", status=403, code="wrong_origin")
            ticket = socket.query_params.get("ticket")
            if ticket is None and self._loopback and is_local(socket, self._origin):
                admit("loopback")
                return
            if ticket is None:
                raise Refused(TAKES_A_TICKET, code="missing")
            await self._try_out(socket, partial(self._redeem, ticket))
            admit("admitted")

    @contextmanager
    def _counting(self, authenticator: str) -> Iterator[Callable[[str], None]]:
        """Count what becomes of one who asks; the block is given what says under which word they were let in."""
        try:
            yield partial(self._count, authenticator)
        except Refused as error:
            self._count(authenticator, error.code)
            raise
        except Retryable:
            self._count(authenticator, "undecided")
            raise

    async def _caller(self, request: Request, proof: str | None, scope: Scope) -> Caller:
        if proof is None:
            if self._loopback and is_local(request, self._origin):
                return LOCAL
            raise Refused("this takes a token: send `Authorization: Bearer`", code="missing")
        if proof.startswith(PREFIX):
            caller = await self._of_token(request, proof)
        elif self._people:
            caller = await self._of_person(request, proof, self._people)
        else:
            raise Refused("this is no token of Helios", code="malformed")
        if wait := await run_in_threadpool(self._limit.wait_seconds, f"caller {caller.name}"):
            raise _too_often(wait)
        if not grants(caller.scopes, scope):
            raise Refused(f"this takes a token with the scope {scope}", status=403, code="scope")
        return caller

    async def _of_token(self, request: Request, proof: str) -> Caller:
        key, now = digest(proof), datetime.now(UTC)
        token, until = self._known.get(key, (None, 0.0))
        if token is None or time.monotonic() >= until:
            find = partial(self._find, key, now)
            # One that was seen before is no guess: whoever guesses at the same address must not lock it out.
            token = await (run_in_threadpool(find) if token else self._try_out(request, find))
            self._known[key] = (token, time.monotonic() + CACHE_SECONDS)
        if not token.is_valid(now):
            code = "revoked" if token.revoked_at else "expired"
            raise Refused(f"this token is {code}", code=code)
        return Caller(f"token:{token.name}", token.scopes)

    async def _of_person(self, request: Request, proof: str, people: BearerToken) -> Caller:
        key, read = digest(proof), partial(people.claims, proof)
        caller = _person(await (run_in_threadpool(read) if key in self._people_seen else self._try_out(request, read)))
        if len(self._people_seen) >= MAX_PEOPLE:
            self._people_seen.clear()
        self._people_seen.add(key)
        return caller

    def _find(self, key: str, now: datetime) -> Token:
        token = self._tokens.use(key, now)
        if token is None:
            self._known.pop(key, None)
            raise Refused("there is no such token", code="unknown")
        return token

    def _redeem(self, ticket: str) -> None:
        if self._tickets is None or self._tickets.redeem(ticket) is None:
            raise Refused(TAKES_A_TICKET, code="unknown")

    async def _try_out(self, request: HTTPConnection, check: Callable[[], T]) -> T:
        """Check what may be made up: an address may be wrong so many times in a minute, and is not heard any more.

        Raises:
            Refused: it is, or it has been too often.
            Retryable: that can't be known now.
        """
        who = f"address {request.client.host if request.client else ''}"
        if wait := await run_in_threadpool(self._limit.spent_seconds, who):
            raise _too_often(wait)
        try:
            return await run_in_threadpool(check)
        except Refused:
            await run_in_threadpool(self._limit.wait_seconds, who)
            raise


def _too_often(wait: int) -> Refused:
    reason = f"that is too often: come again in {wait} s"
    return Refused(reason, status=429, code="too_often", retry_after_seconds=wait)


def _person(claims: Mapping[str, Any]) -> Caller:
    """Who a provider's token is of, by the one claim that is theirs alone; its scopes are ours with our prefix.

    An ``email`` may be anybody's, where the provider has not verified it.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Refused("the token does not say whose it is: it takes a sub", code="malformed")
    said = claims.get("scope", ""), claims.get("roles", ())
    named = [*(said[0].split() if isinstance(said[0], str) else ()), *(said[1] if isinstance(said[1], list) else ())]
    scopes = tuple(scope for scope in SCOPES if f"{CLAIM_PREFIX}{scope}" in named)
    return Caller(f"oidc:{subject}", scopes)
