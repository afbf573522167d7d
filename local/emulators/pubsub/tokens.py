"""The OpenID Connect tokens in push requests, and the certificates that verify them."""

from local.emulators.certificate import self_signed
from local.emulators.issuer import Issuer

ISSUER = "https://accounts.google.com"


class Signer:
    """Signs tokens as Google does.

    Attributes:
        certificates: PEM certificates by key id, in the form of ``https://www.googleapis.com/oauth2/v1/certs``.
        keys: the same keys as a JSON Web Key Set, in the form of ``/oauth2/v3/certs``.
    """

    def __init__(self) -> None:
        self._issuer = Issuer()
        self.certificates = {self._issuer.key_id: self_signed(self._issuer.key, "helios local Pub/Sub")}
        self.keys = self._issuer.keys

    def token(self, *, audience: str, email: str) -> str:
        """A token of this service account for this audience."""
        return self._issuer.token(
            {
                "iss": ISSUER,
                "aud": audience,
                "azp": email,
                "sub": "113774264463038321964",
                "email": email,
                "email_verified": True,
            }
        )
