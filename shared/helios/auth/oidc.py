"""Bearer tokens: Pub/Sub push's OpenID Connect token, and Event Grid's of Microsoft Entra."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jwt

from helios.auth.authenticator import Headers, Refused
from helios.auth.keys import KeySet

LEEWAY_SECONDS = 60
"""How far the issuer's clock and ours may be apart."""

MAX_TOKEN_CHARACTERS = 8192
ALGORITHMS = ["RS256"]
"""The only one that either issuer uses; ``none`` and the symmetric ones are not in it."""

Permit = Callable[[Mapping[str, Any]], None]
"""Raises Refused unless the claims of a true token may come in here."""


class BearerToken:
    """Lets in who carries a token of this issuer, for this audience, that is in its time."""

    reads_body = False
    may_wait = True

    def __init__(self, keys: KeySet, *, issuers: Collection[str], audience: str, permit: Permit) -> None:
        """Take what a token must say.

        Args:
            keys: the issuer's.
            issuers: the spellings of its name that it uses.
            audience: for whom the token must be made out.
            permit: the judge of its other claims.
        """
        self._keys = keys
        self._issuers = issuers
        self._audience = audience
        self._permit = permit

    def applies(self, headers: Headers) -> bool:
        """Whether there is a token."""
        return headers.get("authorization", "")[:7].lower() == "bearer "

    def check(self, headers: Headers, body: bytes) -> None:  # noqa: ARG002 - the token says nothing of the body
        """Check everything that RFC 7519 has, then what is ours to permit."""
        token = headers.get("authorization", "")[7:].strip()
        self._permit(self.claims(token))

    def claims(self, token: str) -> Mapping[str, Any]:
        """What a token says that is true, in its time, and made out for us.

        Raises:
            Refused: it is not.
            Retryable: that can't be known now.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Refused(f"the token is longer than {MAX_TOKEN_CHARACTERS} characters", code="oversized")
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(key_id) if isinstance(key_id, str) else None
            if key is None:
                raise Refused("the token is signed with no key of its issuer", code="wrong_key")
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


_REASONS: tuple[tuple[type[jwt.PyJWTError], str, str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired", "expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet", "not_yet_valid"),
    (jwt.InvalidAudienceError, "the token is for another audience", "wrong_audience"),
    (jwt.InvalidIssuerError, "the token is of another issuer", "wrong_issuer"),
    (jwt.InvalidAlgorithmError, "the token is signed with an algorithm that is not RS256", "wrong_algorithm"),
    (jwt.InvalidSignatureError, "the token's signature does not fit", "wrong_key"),
    (jwt.PyJWTError, "the token can't be read", "malformed"),
)


def _reason(error: jwt.PyJWTError) -> tuple[str, str]:
    """What is said of it: PyJWT's own messages repeat parts of the token."""
    return next((reason, code) for kind, reason, code in _REASONS if isinstance(error, kind))


def permit_anyone(claims: Mapping[str, Any]) -> None:
    """Whoever the issuer vouches for; what they may do is decided elsewhere."""


def permit_service_account(email: str) -> Permit:
    """Only this service account, whose address Google has verified.

    Google Cloud Pub/Sub documentation, "Authentication for push subscriptions".
    """

    def permit(claims: Mapping[str, Any]) -> None:
        if claims.get("email") != email or claims.get("email_verified") is not True:
            raise Refused("the token is of another service account", status=403, code="wrong_account")

    return permit


def permit_application(application: str) -> Permit:
    """Only this application: Event Grid's own, under which it asks Entra for its tokens.

    Azure Event Grid documentation, "Secure webhook delivery with Microsoft Entra ID".
    """

    def permit(claims: Mapping[str, Any]) -> None:
        if application not in {claims.get("azp"), claims.get("appid")}:
            raise Refused("the token is of another application", status=403, code="wrong_account")

    return permit
