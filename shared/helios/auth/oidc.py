"""Bearer tokens: the OpenID Connect tokens of Pub/Sub push, and the Microsoft Entra tokens of Event Grid."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import jwt

from helios.auth.authenticator import Headers, Refused
from helios.auth.keys import KeySet

T = TypeVar("T")

LEEWAY_SECONDS = 60
"""How far the clocks of the issuer and of Helios may differ."""

MAX_TOKEN_CHARACTERS = 8192
ALGORITHMS = ["RS256"]
"""The only algorithm that either issuer uses. ``none`` and the symmetric algorithms are left out on purpose."""

Permit = Callable[[Mapping[str, Any]], None]
"""Raises Refused unless the claims of a valid token allow access to this endpoint."""


class BearerToken:
    """Accepts tokens of this issuer, for this audience, that are currently valid."""

    reads_body = False
    may_wait = True

    def __init__(
        self,
        keys: KeySet,
        *,
        issuers: Collection[str],
        audience: str,
        permit: Permit,
        token_type: str | None = None,
    ) -> None:
        """Take the claims that a token must have.

        Args:
            keys: the issuer's public keys.
            issuers: every spelling of its own name that the issuer uses.
            audience: the audience that the token must name.
            permit: checks the other claims.
            token_type: the type that the header ``typ`` must name; None: any. An ID token has the same issuer, and may
                have the same audience: its type tells it from an access token (RFC 9068, section 4).
        """
        self._keys = keys
        self._issuers = issuers
        self._audience = audience
        self._permit = permit
        self._token_type = token_type

    def applies(self, headers: Headers) -> bool:
        """Whether the request has a bearer token."""
        return headers.get("authorization", "")[:7].lower() == "bearer "

    def check(self, headers: Headers, body: bytes) -> bytes:
        """Check the claims that RFC 7519 registers, then the claims that ``permit`` checks."""
        token = headers.get("authorization", "")[7:].strip()
        self._permit(self.claims(token))
        return body

    def claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature, issuer, audience and times are valid.

        Raises:
            Refused: the token is not valid.
            Retryable: the check is not possible now.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Refused(
                f"The token is too long. Send one of at most {MAX_TOKEN_CHARACTERS} characters.", code="oversized"
            )
        try:
            header = jwt.get_unverified_header(token)
            self._check_type(header.get("typ"))
            key_id = header.get("kid")
            key = self._keys.get(key_id) if isinstance(key_id, str) else None
            if key is None:
                raise Refused(
                    "The token is not signed with a key of the expected issuer. Send a token of that issuer.",
                    code="wrong_key",
                )
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=list(self._issuers),
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            reason, code = _reason(error)
            raise Refused(reason, code=code) from error

    def _check_type(self, name: object) -> None:
        if self._token_type is None:
            return
        if not isinstance(name, str) or _media_type(name) != _media_type(self._token_type):
            raise Refused(
                f"The token's header typ is not {self._token_type}. Send an access token, not an ID token.",
                code="wrong_type",
            )


def _media_type(name: str) -> str:
    """The type without the prefix that a header may leave out, in lower case (RFC 7515, section 4.1.9)."""
    return name.lower().removeprefix("application/")


_REASONS: tuple[tuple[type[jwt.PyJWTError], str, str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired. Send a new one.", "expired"),
    (jwt.ImmatureSignatureError, "The token is not valid yet. Check the clock of its issuer.", "not_yet_valid"),
    (
        jwt.InvalidAudienceError,
        "The token is for another audience. Request one for this endpoint.",
        "wrong_audience",
    ),
    (
        jwt.InvalidIssuerError,
        "The token has another issuer. Send one of the expected issuer.",
        "wrong_issuer",
    ),
    (jwt.InvalidAlgorithmError, "The token is not signed with RS256. Sign it with RS256.", "wrong_algorithm"),
    (
        jwt.InvalidSignatureError,
        "The token's signature is invalid. Send it as its issuer signed it.",
        "wrong_key",
    ),
    (jwt.PyJWTError, "The token is malformed. Send a signed JSON Web Token with exp, iat, iss and aud.", "malformed"),
)


def _reason(error: jwt.PyJWTError) -> tuple[str, str]:
    """The reason and code of an error. PyJWT's own messages are not shown, because they repeat parts of the token."""
    return next((reason, code) for kind, reason, code in _REASONS if isinstance(error, kind))


def permit_anyone(claims: Mapping[str, Any]) -> None:
    """Accept every subject of the issuer. The caller decides what the subject may do."""


def _claim(claims: Mapping[str, Any], name: str, type_: type[T]) -> T | None:
    """A claim of this type; None if the token lacks it.

    Raises:
        Refused: the claim has another type.
    """
    value = claims.get(name)
    if value is not None and not isinstance(value, type_):
        raise Refused(
            f"The token's claim {name} has the wrong type. Send a token as its issuer signed it.", code="malformed"
        )
    return value


def permit_service_account(email: str) -> Permit:
    """Accept only this service account, whose address Google has verified.

    Google Cloud Pub/Sub documentation, "Authentication for push subscriptions".
    """

    def permit(claims: Mapping[str, Any]) -> None:
        if _claim(claims, "email", str) != email or _claim(claims, "email_verified", bool) is not True:
            raise Refused(
                "The token is from another service account. Use the one that is configured for this endpoint.",
                status=403,
                code="wrong_account",
            )

    return permit


def permit_subject(subject: str) -> Permit:
    """Accept only this subject of the issuer."""

    def permit(claims: Mapping[str, Any]) -> None:
        if _claim(claims, "sub", str) != subject:
            raise Refused(
                "The token is from another subject. Use the one that is configured for this endpoint.",
                status=403,
                code="wrong_account",
            )

    return permit


def permit_application(application: str) -> Permit:
    """Accept only this application, such as the one under which Event Grid requests its tokens from Entra.

    Azure Event Grid documentation, "Secure webhook delivery with Microsoft Entra ID".
    """

    def permit(claims: Mapping[str, Any]) -> None:
        if application not in {_claim(claims, "azp", str), _claim(claims, "appid", str)}:
            raise Refused(
                "The token is from another application. Send one that Event Grid requested.",
                status=403,
                code="wrong_account",
            )

    return permit
