"""Authorizes the API's clients: by a token of Helios, or by one of an OpenID provider."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar

import anyio
import msgspec
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from helios.api.webhook_receiver import is_local
from helios.auth.authenticator import Refused
from helios.auth.oidc import BearerToken
from helios.errors import Retryable
from helios.model.access import EVERYTHING, Names, Visibility
from helios.model.tokens import PREFIX, SCOPES, Scope, TicketHolder, Token, digest, grants
from helios.ports.access import RateLimit, Tickets, Tokens
from helios.services.views import View, Views

CACHE_SECONDS = 10.0
"""How long a token is cached, which saves a query per request; a revoked token works for at most this long."""

MAX_OIDC_DIGESTS = 4096
"""How many digests of valid tokens of the OpenID provider the process holds."""

MAX_CHECKS = 8
"""How many proofs that this process has not seen before are checked at once; more requests wait their turn."""

CLAIM_PREFIX = "helios."
"""Prefix of Helios' scopes in the claims ``scope`` and ``roles`` (RFC 9068, section 2.2.3): ``helios.read``; and of the
claims with the limits of a token, each an array of names: ``helios.sources``, ``helios.types``, ``helios.flows`` and
``helios.masked``."""

Count = Callable[[str, str], None]
"""Takes ``token`` or ``ticket``, and a result: ``admitted``, ``loopback``, ``undecided`` or the refusal's code."""

TICKET_NEEDED = "Missing or invalid ticket. Send one of POST /api/v1/ws/tickets as ?ticket=."

LIMITED = (
    "This request needs a token without limits, because its answer or its effect can't be narrowed to the sources, "
    "types, flows and fields of this token."
)

T = TypeVar("T")

_bearer = HTTPBearer(auto_error=False, description="A token of `helios tokens create` or of the OpenID provider")


class Caller(NamedTuple):
    """The client of a request, and its scopes.

    The prefix of the name says who issued the proof: ``token:grafana`` is the name of a token of Helios, ``oidc:7f3a``
    a subject of the OpenID provider. ``visibility`` is what the client may see.
    """

    name: str
    scopes: tuple[Scope, ...]
    visibility: Visibility = EVERYTHING


LOCAL = Caller("local", SCOPES)
"""A client on the same machine, which needs no proof."""

Dependency = Callable[..., Awaitable[Caller]]
"""A dependency of FastAPI that returns the ``Caller``."""


ViewDependency = Callable[..., Awaitable[View]]
"""A dependency of FastAPI that returns the ``View`` of the client."""


class Access:
    """Identifies the client of every request, or refuses the request."""

    def __init__(
        self,
        tokens: Tokens,
        tickets: Tickets | None,
        *,
        oidc: BearerToken | None,
        loopback: bool,
        origin: str,
        limit: RateLimit,
        count: Count,
    ) -> None:
        """Build it.

        Args:
            tokens: the tokens of Helios.
            tickets: the tickets for WebSockets; None: there is no Redis to store them in.
            oidc: reads the tokens of an OpenID provider; None: none is configured.
            loopback: whether a client on this machine needs no proof.
            origin: the only web origin besides the API's own that may open a WebSocket.
            limit: limits the requests of a caller, and the failed attempts of an address.
            count: called with each result.
        """
        self._tokens = tokens
        self._tickets = tickets
        self._oidc = oidc
        self._loopback = loopback
        self._origin = origin
        self._limit = limit
        self._count = count
        self._cache: dict[str, tuple[Token, float]] = {}
        self._oidc_digests: set[str] = set()
        self._checks = anyio.CapacityLimiter(MAX_CHECKS)

    def require(self, scope: Scope, *, narrows: bool = False) -> Dependency:
        """The dependency of a route whose clients need this scope.

        Args:
            scope: the scope.
            narrows: whether the route shows a client only what its token may see. Any other route refuses a client
                whose token is limited.

        Raises:
            Refused: the client does not have the scope.
            Retryable: whether the client has the scope is unknown, because a service is unavailable.
        """

        async def check(
            request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
        ) -> Caller:
            with self._counting("token") as admit:
                caller = await self._caller(
                    request, credentials.credentials if credentials else None, scope, narrows=narrows
                )
                admit("loopback" if caller is LOCAL else "admitted")
                return caller

        return check

    def viewing(self, views: Views) -> ViewDependency:
        """The dependency of a route that reads: what the client, with the scope ``read``, may see.

        Raises:
            Refused: the client does not have the scope.
            Retryable: whether the client has the scope is unknown, because a service is unavailable.
        """

        async def view(caller: Annotated[Caller, Depends(self.require("read", narrows=True))]) -> View:
            return views(caller.visibility)

        return view

    async def authorize_websocket(self, socket: HTTPConnection) -> Visibility:
        """What a client may see who opens a WebSocket: with a ticket, or without one from this machine.

        Raises:
            Refused: it may not.
            Retryable: whether the ticket is valid is unknown, because Redis is unavailable.
        """
        with self._counting("ticket") as admit:
            origin, host = socket.headers.get("origin", self._origin), socket.headers.get("host")
            if origin not in {self._origin, f"http://{host}", f"https://{host}"}:
                reason = "This origin may not open a WebSocket. See HELIOS_DASHBOARD_ORIGIN."
                raise Refused(reason, status=403, code="wrong_origin")
            ticket = socket.query_params.get("ticket")
            if ticket is None and self._loopback and is_local(socket, self._origin):
                admit("loopback")
                return EVERYTHING
            if ticket is None:
                raise Refused(TICKET_NEEDED, code="missing")
            holder = await self._check_limited(socket, partial(self._redeem, ticket))
            admit("admitted")
            return holder.visibility

    @contextmanager
    def _counting(self, authenticator: str) -> Iterator[Callable[[str], None]]:
        """Count a refusal or an undecided check; the block gets a function that counts an admission."""
        try:
            yield partial(self._count, authenticator)
        except Refused as error:
            self._count(authenticator, error.code)
            raise
        except Retryable:
            self._count(authenticator, "undecided")
            raise

    async def _caller(self, request: Request, proof: str | None, scope: Scope, *, narrows: bool) -> Caller:
        if proof is None:
            if self._loopback and is_local(request, self._origin):
                return LOCAL
            raise Refused("Missing token. Send `Authorization: Bearer TOKEN`.", code="missing")
        if proof.startswith(PREFIX):
            caller = await self._token_caller(request, proof)
        elif self._oidc:
            caller = await self._oidc_caller(request, proof, self._oidc)
        else:
            raise Refused("This is not a token of Helios.", code="malformed")
        if wait := await run_in_threadpool(self._limit.wait_seconds, f"caller {caller.name}"):
            raise _rate_limited(wait)
        if not grants(caller.scopes, scope):
            raise Refused(f"This request needs a token with the scope {scope}.", status=403, code="scope")
        if caller.visibility.is_limited and not narrows:
            raise Refused(LIMITED, status=403, code="limited")
        return caller

    async def _token_caller(self, request: Request, proof: str) -> Caller:
        key, now = digest(proof), datetime.now(UTC)
        token, fresh_until = self._cache.get(key, (None, 0.0))
        if token is None or time.monotonic() >= fresh_until:
            find = partial(self._find, key, now)
            # A cached token is no guess: it does not wait for the checks of guesses.
            token = await (run_in_threadpool(find) if token else self._check_limited(request, find))
            self._cache[key] = (token, time.monotonic() + CACHE_SECONDS)
        if not token.is_valid(now):
            if token.revoked_at:
                raise Refused("The token was revoked.", code="revoked")
            raise Refused("The token has expired.", code="expired")
        return Caller(f"token:{token.name}", token.scopes, token.visibility)

    async def _oidc_caller(self, request: Request, proof: str, oidc: BearerToken) -> Caller:
        key, read = digest(proof), partial(oidc.claims, proof)
        is_known = key in self._oidc_digests
        caller = _claims_caller(await (run_in_threadpool(read) if is_known else self._check_limited(request, read)))
        if len(self._oidc_digests) >= MAX_OIDC_DIGESTS:
            self._oidc_digests.clear()
        self._oidc_digests.add(key)
        return caller

    def _find(self, key: str, now: datetime) -> Token:
        token = self._tokens.use(key, now)
        if token is None:
            self._cache.pop(key, None)
            raise Refused("Unknown token.", code="unknown")
        return token

    def _redeem(self, ticket: str) -> TicketHolder:
        holder = self._tickets.redeem(ticket) if self._tickets else None
        if holder is None:
            raise Refused(TICKET_NEEDED, code="unknown")
        return holder

    async def _check_limited(self, request: HTTPConnection, check: Callable[[], T]) -> T:
        """The result of a check of a proof that may be a guess; each address has a limit of failed checks a minute.

        The proof is checked even if the address has reached its limit: another client of the same address, behind a NAT
        or a proxy, must not be locked out. MAX_CHECKS limits the load of the checks instead.

        Raises:
            Refused: the proof is wrong; with the status 429 if the address has reached its limit.
            Retryable: whether the proof holds is unknown, because a service is unavailable.
        """
        address = f"address {request.client.host if request.client else ''}"

        def check_and_count() -> T:
            try:
                return check()
            except Refused:
                if wait := self._limit.wait_seconds(address):
                    raise _rate_limited(wait) from None
                raise

        return await anyio.to_thread.run_sync(check_and_count, limiter=self._checks)


def _rate_limited(wait: int) -> Refused:
    reason = f"Rate limit exceeded. Retry in {wait} seconds."
    return Refused(reason, status=429, code="rate_limited", retry_after_seconds=wait)


def _claims_caller(claims: Mapping[str, Any]) -> Caller:
    """The caller of a provider's token: its ``sub``, and the scopes and limits of Helios that it names.

    Only ``sub`` identifies one user. Another user may have the same ``email`` if the provider has not verified it.

    Raises:
        Refused: a claim has the wrong type. A limit that is not understood must not be dropped.
    """
    subject = _claim(claims, "sub", str, "")
    if not subject:
        raise Refused("The token has no claim `sub`.", code="malformed")
    granted = (*_claim(claims, "scope", str, "").split(), *_claim(claims, "roles", list[str], []))
    scopes = tuple(scope for scope in SCOPES if f"{CLAIM_PREFIX}{scope}" in granted)
    limits = {
        name: _claim(claims, f"{CLAIM_PREFIX}{name}", Names, None) for name in ("sources", "types", "flows", "masked")
    }
    unknown = {name for name in claims if name.startswith(CLAIM_PREFIX)} - {f"{CLAIM_PREFIX}{name}" for name in limits}
    if unknown:
        raise Refused(f"The token has an unknown claim `{min(unknown)}`.", code="malformed")
    visibility = Visibility(**{name: names for name, names in limits.items() if names is not None})
    return Caller(f"oidc:{subject}", scopes, visibility)


def _claim(claims: Mapping[str, Any], name: str, type_: Any, default: Any) -> Any:
    try:
        return msgspec.convert(claims[name], type_) if claims.get(name) is not None else default
    except msgspec.ValidationError as error:
        raise Refused(f"The token's claim `{name}` has the wrong type.", code="malformed") from error
